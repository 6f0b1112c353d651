"""What is to be reached, what was reached, and how it is told."""

import datetime
import statistics

MISSED, REACHED, GOAL, NOT_MEASURED = "MISSED", "ok", "goal", "-"


class Row:
    """One figure. at_least, goal: numbers in the unit of the figure, None = there is none; less: smaller is better."""

    def __init__(self, work, at_least, goal, form="{:.2f}", less=False, strict=False):
        self.work, self.at_least, self.goal, self.form, self.less, self.strict = work, at_least, goal, form, less, strict
        self.values = []
        self.note = ""

    def figure(self):
        return statistics.median(self.values)

    def _holds(self, bound):
        """strict: ahead means more, not as much as."""
        figure = self.figure()
        if self.strict and figure == bound:
            return False
        return figure <= bound if self.less else figure >= bound

    def verdict(self):
        if not self.values:
            return NOT_MEASURED
        if self.at_least is not None and not self._holds(self.at_least):
            return MISSED
        if self.goal is not None and self._holds(self.goal):
            return GOAL
        return REACHED if self.at_least is not None else NOT_MEASURED

    def cells(self):
        """work, figure, at least, goal, verdict"""
        show = self.form.format
        figure = "-"
        if self.values:
            figure = f"**{show(self.figure())}**"
            if len(self.values) > 1:
                figure += f" ({show(min(self.values))}–{show(max(self.values))})"
        bounds = ["-" if bound is None else ("> " if self.strict and bound == self.at_least else "") + show(bound)
                  for bound in (self.at_least, self.goal)]
        return [self.work + (f" ({self.note})" if self.note else ""), figure, *bounds, self.verdict()]


def _ratio(work, at_least, goal, **kwargs):
    return Row(work, at_least, goal, "{:.2f} x", **kwargs)


def _ms(work, at_least, goal):
    return Row(work, at_least, goal, "{:.1f} ms", less=True)


_LIMIT = "of one posix_spawn-and-wait loop"


def goals(queued, finished):
    """The rows by their keys, in the order of the table. queued, finished: so many jobs the large queue has."""
    return {
        "limit-2": _ratio(f"no-op command, 2 workers: {_LIMIT}", 0.92, 1.2),
        "limit-4": _ratio(f"no-op command, 4 workers: {_LIMIT}", 1.15, 1.5),
        "limit-16": _ratio(f"no-op command, 16 workers: {_LIMIT}", 1.3, 1.7),
        "peers-2": _ratio("2 workers: of the best that stores nothing", 1, None, strict=True),
        "peers-4": _ratio("4 workers: of the best that stores nothing", 1, None, strict=True),
        "peers-16": _ratio("16 workers: of the best that stores nothing", 1, None, strict=True),
        "true-2": _ratio(f"`/bin/true`, 2 workers: {_LIMIT}", 0.86, 1.0),
        "latency": _ratio("submit to reported end, idle, p50, times a spawn-and-wait", 3.8, 3, less=True),
        "run": _ratio("`jobpool run noop`, whole process, p50, times a spawn-and-wait", None, 7, less=True),
        "durable-1": _ratio("durable submissions, one client, 1 in flight: of beanstalkd -f0", 1, None, strict=True),
        "durable-64": _ratio("one client, 64 in flight: of beanstalkd -f0", 10, 20),
        "durable-50": _ratio("50 clients, 1 in flight each: of beanstalkd -f0", 1, 20, strict=True),
        "slow-16": _ratio("every fsync 2 ms slower, 16 workers: of the best peer", 1, None, strict=True),
        "idle": Row("idle: context switches a second of all processes", 0, 0, "{:.1f}", less=True),
        "pss": Row("daemon + supervisor + 2 workers, PSS", 5, 4, "{:.2f} MiB", less=True),
        "pss-worker": Row("each further worker, PSS", 300, 200, "{:.0f} KiB", less=True),
        "bulk": Row(f"{queued:,} queued jobs of 100 bytes: bulk submission", 8, 5, "{:.2f} s", less=True),
        "memory": Row("memory of the daemon a queued job", 4, 1, "{:.2f} B", less=True),
        "disk": Row("disk a queued job", 300, 220, "{:.0f} B", less=True),
        "resident": Row("resident size of the daemon", 64, 32, "{:.1f} MiB", less=True),
        "start": Row("start with them: until every queue answers with right counts", 0.35, 0.2, "{:.3f} s", less=True),
        "first": _ms("from the socket until the first job runs", 50, 10),
        "busy-store": _ms("256 jobs in flight, slow disk: another client's request of the store, p99", 10, None),
        "busy-memory": _ms("the same, answered from memory, p99", 2, None),
        "list": _ms(f"{finished:,} finished and {queued:,} queued jobs: `list`, p99", 10, 5),
        "show": _ms("`show`, p99", 10, 5),
        "queue": _ms("`queue`, p99", 10, 5),
    }


def table(header, rows):
    """Lines of a Markdown table with even columns."""
    rows = [list(map(str, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *rows)]
    lines = [header, ["-" * width for width in widths], *rows]
    return ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |" for line in lines]


def spread(values, form="{:.0f}"):
    """median (minimum–maximum)"""
    show = form.format
    if len(values) < 2:
        return show(values[0]) if values else ""
    return f"{show(statistics.median(values))} ({show(min(values))}–{show(max(values))})"


class Report:
    """All figures of one run."""

    def __init__(self, queued, finished, quick):
        self.rows = goals(queued, finished)
        self.quick = quick
        self.details = []        # (title, lines of Markdown)
        self.problems = []       # what did not work, or counted wrong
        self.machine = []        # (name, value)
        self.remark = ""         # what spoils the figures
        self.date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")

    def add(self, key, value):
        self.rows[key].values.append(value)

    def detail(self, title, header, rows, text=""):
        self.details.append((title, table(header, rows) + ([""] + [text] if text else [])))

    def missed(self):
        return [row.work for row in self.rows.values() if row.verdict() == MISSED]

    def goal_table(self):
        kind = " (quick: one round, small counts)" if self.quick else ""
        header = ["work" + kind, "figure", "at least", "goal", "verdict"]
        return table(header, [row.cells() for row in self.rows.values()])

    def markdown(self):
        """The whole report; what the README quotes stands between the two marks."""
        parts = ["# Results of the benchmark", "", "<!-- table -->", f"Taken on {self.date}{self.remark}.", "", *self.goal_table(),
                 "<!-- end of table -->", "", "## The machine", "", *table(["", ""], self.machine)]
        for title, lines in self.details:
            parts += ["", f"## {title}", "", *lines]
        if self.problems:
            parts += ["", "## Problems", "", *(f"- {problem}" for problem in self.problems)]
        return "\n".join(parts) + "\n"
