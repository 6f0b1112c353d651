"""The sections of the benchmark. Each is a function of a Bench; what it measures is in README.md, section by section.

Each forms its ratios within a round, from what ran next to each other; rounds rotate the order.
"""

import json
import shutil
import statistics
import subprocess
import time

import peers
from jobpool import Jobpool, run_jobs, tool
from machine import TOOLS_DIR, Failure, context_switches, harness, memory_kib
from report import spread

PAYLOAD_BYTES = 100
IN_FLIGHT = 256
REST_S = 6     # after that, what is put off until it is quiet has happened: it is idle
QUEUED = {True: 100_000, False: 1_000_000}     # jobs in the large queue; True: --quick
FINISHED = {True: 50_000, False: 1_000_000}    # and in its history


class Bench:
    """What the sections share."""

    def __init__(self, workspace, report, quick):
        self.workspace, self.report, self.quick = workspace, report, quick
        self.rounds = 1 if quick else 5
        # A short path: it is part of what is stored of each job.
        self.noop = str(shutil.copy(TOOLS_DIR / "noop", workspace.root / "noop"))
        self.queued, self.finished = QUEUED[quick], FINISHED[quick]

    def scaled(self, n):
        return n // 2 if self.quick else n

    def tool(self, name, *words, **kwargs):
        return tool(self.workspace, name, *words, **kwargs)


# --- Command jobs ---

def _limit_rate(bench, limit, k, n):
    limit.up(k)
    seconds, ok = limit.jobs(n, k)
    limit.down()
    if ok != n:
        raise Failure(f"{limit.name}: {ok} of {n} succeeded")
    return n / seconds


class _Measured:
    """Of one runner, a value a round."""

    def __init__(self):
        self.rates, self.ratios, self.cpu_us = [], [], []

    def of_limit(self):
        return statistics.median(self.ratios)


def _one_round(bench, runner, k, n, before, limit, measured):
    """Returns the rate of the limit behind it."""
    runner.up(k)
    cpu = runner.group.microseconds()
    seconds, ok = runner.jobs(n, k)
    if cpu is not None:
        measured.cpu_us.append((runner.group.microseconds() - cpu) / n)
    runner.down()
    if ok != n:
        bench.report.problems.append(f"{runner.name}, {k} workers: {ok} of {n} jobs succeeded")
    after = limit()
    measured.rates.append(n / seconds)
    measured.ratios.append(n / seconds / ((before + after) / 2))
    return after


def _race(bench, title, k, command, classes, slow=False, divisor=1):
    """jobpool and the others at K workers; returns {name: _Measured} of all that are installed."""
    runners = [runner for runner in (c(bench.workspace, command, slow) for c in classes) if runner.available()]
    limit = peers.SpawnLimit(bench.workspace, command)
    n_limit = bench.scaled(2000 // divisor)
    measured = {runner.name: _Measured() for runner in runners}

    def run_limit():
        return _limit_rate(bench, limit, k, n_limit)

    for turn in range(bench.rounds):
        shift = turn % len(runners)
        before = run_limit()
        for runner in runners[shift:] + runners[:shift]:
            n = max(10, bench.scaled(runner.jobs_a_round // divisor))
            before = _one_round(bench, runner, k, n, before, run_limit, measured[runner.name])
    bench.report.detail(
        title, ["runner", "jobs/s", "of the limit", "CPU µs a job", "keeps", "durable"],
        [[runner.name, spread(m.rates), spread(m.ratios, "{:.2f}"), spread(m.cpu_us), runner.keeps,
          "yes" if runner.stores else "no"] for runner, m in ((r, measured[r.name]) for r in runners)],
    )
    return measured


def _compare(bench, key, measured, classes):
    """The row: jobpool against the best of these, as far as they are installed."""
    found = [(measured[c.name].of_limit(), c.name) for c in classes if c.name in measured]
    if found:
        best, bench.report.rows[key].note = max(found)
        bench.report.add(key, measured[peers.JobpoolRunner.name].of_limit() / best)


def command_jobs(bench):
    """the no-op command with 2, 4 and 16 workers"""
    for k in (2, 4, 16):
        classes = (peers.JobpoolRunner,) + peers.STORING_NOTHING
        if not bench.quick:
            # One task-spooler, nq or GNU parallel is a process a submission: more workers change nothing.
            classes += peers.WITH_A_QUEUE if k == 2 else (peers.Beanstalkd,)
        measured = _race(bench, f"No-op command, {k} workers", k, bench.noop, classes)
        bench.report.rows[f"limit-{k}"].values = measured[peers.JobpoolRunner.name].ratios
        _compare(bench, f"peers-{k}", measured, peers.STORING_NOTHING)


def ordinary_command(bench):
    """/bin/true, with 2 workers"""
    measured = _race(
        bench, "/bin/true, 2 workers", 2, "/bin/true", (peers.JobpoolRunner,) + peers.STORING_NOTHING, divisor=3
    )
    bench.report.rows["true-2"].values = measured[peers.JobpoolRunner.name].ratios


def slow_disk(bench):
    """every fsync 2 ms slower, with 16 workers"""
    others = peers.STORING_NOTHING + (peers.Beanstalkd,)
    measured = _race(
        bench, "Every fsync 2 ms slower, no-op command, 16 workers", 16, bench.noop, (peers.JobpoolRunner,) + others,
        slow=True,
    )
    _compare(bench, "slow-16", measured, others)


# --- Latency ---

def latency(bench):
    """one job at a time over a connection; and the whole client, beside tsp"""
    daemon = Jobpool(bench.workspace, 2).start()
    commands = [[bench.noop], daemon.command("run", "--", bench.noop)]
    directory = bench.workspace.directory(in_memory=True)
    env = {}
    if peers.TaskSpooler(bench.workspace, bench.noop).available():
        env = peers.start_tsp(bench.workspace, directory, 2)
        commands.append(["tsp", "-f", bench.noop])
    words = []
    for command in commands:
        words += ["---", *command] if words else command
    jobs, whole = [], []
    for _ in range(bench.rounds):
        jobs.append(bench.tool("joblatency", "-a", daemon.socket, "-n", 300, bench.noop))
        whole.append(bench.tool("cmdlatency", "-n", 150, *words, env=env))
    if env:
        bench.workspace.run(["tsp", "-K"], env=env)
    daemon.check_queue("default", unfinished=0, failed=0)
    daemon.stop()
    _report_latency(bench, jobs, whole)


def _report_latency(bench, jobs, whole):
    if any(sample["failed"] for line in jobs + whole for sample in line):
        bench.report.problems.append("latency: a try failed")
    for spawned, job in jobs:
        bench.report.add("latency", job["p50_us"] / spawned["p50_us"])
    for line in whole:
        bench.report.add("run", line[1]["p50_us"] / line[0]["p50_us"])
    row = bench.report.rows["run"]
    if len(whole[0]) > 2:
        row.at_least = statistics.median(line[2]["p50_us"] / line[0]["p50_us"] for line in whole)
        row.note = "at least: `tsp -f noop`"
    named = list(zip(("posix_spawn and wait", "jobpool: submit to reported end"), zip(*jobs)))
    named += zip(("noop, whole process", "jobpool run noop", "tsp -f noop"), zip(*whole))
    bench.report.detail(
        "Latency, idle", ["what", "p50 µs", "p99 µs"],
        [[name, spread([x["p50_us"] for x in line]), spread([x["p99_us"] for x in line])] for name, line in named],
    )


# --- Durable submissions ---

_SUBMISSION_MODES = (  # key, text, clients, window, number of submissions
    ("durable-1", "one client, 1 in flight", 1, 1, 2000),
    ("durable-64", "one client, 64 in flight", 1, 64, 5000),
    ("durable-50", "50 clients, 1 in flight each", 50, 1, 5000),
)


def _submissions(bench, clients, window, n):
    """A rate; the queue is paused, so that nothing but submission is measured."""
    daemon = Jobpool(bench.workspace, 2).start()
    daemon.call("QUEUE", "PAUSE", "default")
    seconds = bench.tool(
        "putload", "-a", daemon.socket, "-n", n, "-c", clients, "-w", window,
        "SUBMIT", "default", "CMD", bench.noop, _payload(bench),
    )[0]["wall_s"]
    daemon.check_queue("default", ready=n, unfinished=n)
    daemon.stop()
    daemon.remove()
    return n / seconds


def _puts(bench, clients, window, n):
    directory = bench.workspace.directory()
    server, path = peers.start_beanstalkd(bench.workspace, directory)
    seconds = bench.tool(
        "putload", "-a", path, "-n", n, "-c", clients, "-w", window, "-b", PAYLOAD_BYTES,
    )[0]["wall_s"]
    bench.workspace.end(server)
    shutil.rmtree(directory)
    return n / seconds


def _payload(bench):
    """An argument that makes argv 100 bytes long, with a place for a number."""
    return "##########" + "x" * (PAYLOAD_BYTES - len(bench.noop) - len("##########"))


def _redis_benchmark(bench, n):
    """The same 50 clients by a public load generator."""
    daemon = Jobpool(bench.workspace, 2).start()
    daemon.call("QUEUE", "PAUSE", "default")
    out = bench.workspace.run(
        ["redis-benchmark", "-s", daemon.socket, "-c", 50, "-n", n, "--csv",
         "SUBMIT", "default", "CMD", bench.noop, _payload(bench)],
    )
    daemon.check_queue("default", unfinished=n)
    daemon.stop()
    return float(out.splitlines()[-1].split(",")[1].strip('"'))


def durable_submissions(bench):
    """submission alone, beside beanstalkd with an fsync a put"""
    rates = {key: ([], []) for key, *_ in _SUBMISSION_MODES}
    with_beanstalkd = shutil.which("beanstalkd") is not None
    for turn in range(bench.rounds):
        for key, _, clients, window, n in _SUBMISSION_MODES:
            n = bench.scaled(n)
            measure = [_submissions, _puts] if turn % 2 == 0 else [_puts, _submissions]
            if not with_beanstalkd:
                measure = [_submissions]
            found = {function: function(bench, clients, window, n) for function in measure}
            rates[key][0].append(found[_submissions])
            if with_beanstalkd:
                rates[key][1].append(found[_puts])
                bench.report.add(key, found[_submissions] / found[_puts])
    rows = [[text, spread(rates[key][0]), spread(rates[key][1])] for key, text, *_ in _SUBMISSION_MODES]
    if shutil.which("redis-benchmark"):
        found = [_redis_benchmark(bench, 5000) for _ in range(bench.rounds)]
        rows.append(["50 clients, 1 in flight each, by redis-benchmark", spread(found), ""])
    bench.report.detail("Durable submissions a second", ["clients", "jobpool", "beanstalkd -f0"], rows)


# --- Idle ---

def idle(bench):
    """context switches of a daemon that has worked and has nothing to do, and what it holds of memory"""
    rows, pss = [], {}
    for workers in (2, 10):
        daemon = Jobpool(bench.workspace, workers).start()
        run_jobs(daemon, 200, bench.noop)
        time.sleep(REST_S if workers == 2 else 1)
        processes = daemon.processes()
        if len(processes) != workers + 2:
            raise Failure(f"{len(processes)} processes, not {workers} workers, supervisor and daemon")
        pss[workers] = {pid: memory_kib(pid, "Pss") for pid in processes}
        switches = _idle_switches(bench, processes) if workers == 2 else {}
        rows += [[workers, program, pss[workers][pid], switches.get(pid, "")] for pid, program in processes.items()]
        daemon.stop()
    total = {workers: sum(found.values()) for workers, found in pss.items()}
    bench.report.add("pss", total[2] / 1024)
    bench.report.add("pss-worker", (total[10] - total[2]) / 8)
    bench.report.detail("Idle", ["workers", "program", "PSS KiB", "context switches"], rows)


def _idle_switches(bench, processes):
    """{pid: how many}, in 10 s"""
    seconds = 5 if bench.quick else 10
    before = {pid: context_switches(pid) for pid in processes}
    time.sleep(seconds)
    found = {pid: context_switches(pid) - count for pid, count in before.items()}
    bench.report.add("idle", sum(found.values()) / seconds)
    return found


# --- A large queue ---

_HELD_BACK = "pools: { default: { queues: [default] } }\nqueues: { bulk: {} }\n"   # no pool serves it: its jobs wait
_SERVED = "pools: { default: { queues: [default, bulk] } }\n"


def large_queue(bench):
    """fill a queue, in a fresh daemon each round; start with the last one, run as many jobs, and ask"""
    for turn in range(bench.rounds):
        daemon = _fill(bench)
        if turn < bench.rounds - 1:
            daemon.remove()
    _fill_by_generator(bench)
    _starts(bench, daemon)
    _history(bench, daemon)
    daemon.remove()


def _fill(bench):
    """A daemon, stopped, with so many queued jobs in its state directory."""
    daemon = Jobpool(bench.workspace, 2, _HELD_BACK).start()
    lines = daemon.root / "bulk"
    lines.write_text("".join(_payload(bench).replace("#" * 10, f"{i:010}") + "\n" for i in range(bench.queued)))
    before = memory_kib(daemon.process.pid, "Pss")
    begin = time.monotonic()
    daemon.cli("submit", "--queue", "bulk", "--each-line", lines, bench.noop, stdout=subprocess.DEVNULL)
    bench.report.add("bulk", time.monotonic() - begin)
    daemon.check_queue("bulk", ready=bench.queued, unfinished=bench.queued)
    bench.report.add("memory", (memory_kib(daemon.process.pid, "Pss") - before) * 1024 / bench.queued)
    bench.report.add("resident", memory_kib(daemon.process.pid, "Rss") / 1024)
    daemon.stop()
    bench.report.add("disk", daemon.database_bytes() / bench.queued)
    lines.unlink()
    return daemon


def _fill_by_generator(bench):
    daemon = Jobpool(bench.workspace, 2, _HELD_BACK).start()
    seconds = bench.tool(
        "putload", "-a", daemon.socket, "-n", bench.queued, "-w", IN_FLIGHT,
        "SUBMIT", "bulk", "CMD", bench.noop, _payload(bench),
    )[0]["wall_s"]
    daemon.check_queue("bulk", ready=bench.queued)
    daemon.stop()
    daemon.remove()
    bench.report.detail(
        f"{bench.queued:,} queued jobs", ["by", "seconds"],
        [["`jobpool submit --each-line`", spread(bench.report.rows["bulk"].values, "{:.2f}")],
         [f"a generator with {IN_FLIGHT} in flight", f"{seconds:.2f}"]],
    )


def _starts(bench, daemon):
    """Of everything (nothing ran), and of the daemon alone after kill -9."""
    rounds = 2 if bench.quick else bench.rounds
    found = {"everything": [], "the daemon, after kill -9": []}
    for _ in range(rounds):
        for what, times in found.items():
            times.append(_start(bench, daemon, crashed=what != "everything"))
    # What is judged is the worse of the two.
    for key, place in (("start", 0), ("first", 1)):
        worse = max(found.values(), key=lambda times: statistics.median(t[place] for t in times))
        bench.report.rows[key].values = [t[place] for t in worse]
    bench.report.detail(
        f"Start with {bench.queued:,} queued jobs", ["start of", "right counts after, s", "first job after the socket, ms"],
        [[what, spread([t[0] for t in times], "{:.3f}"), spread([t[1] for t in times], "{:.1f}")]
         for what, times in found.items()],
    )


def _start(bench, daemon, crashed):
    """(seconds until counts are right, ms from the socket to the first job).

    Two jobs at the head of the queue, one a worker, write down when they were started, and stay: no other is run.
    """
    stamps = [daemon.root / f"stamp{i}" for i in range(2)]
    for stamp in stamps:
        stamp.unlink(missing_ok=True)
    daemon.configure(_HELD_BACK)
    daemon.start()
    for stamp in stamps:
        daemon.cli("submit", "--queue", "bulk", "--priority", 1, "--", TOOLS_DIR / "stamp", stamp)
    if crashed:
        daemon.crash()
    else:
        daemon.stop()
    daemon.configure(_SERVED)
    begin = time.monotonic()
    daemon.launch()
    connection = daemon.connect(pause=0.0002)
    ready = time.monotonic()
    counts = None
    while counts != bench.queued + len(stamps):
        queues = [dict(zip(flat[::2], flat[1::2])) for flat in connection.call("QUEUES")]
        counts = sum(queue["unfinished"] for queue in queues if queue["name"] == "bulk")
    counted = time.monotonic()
    connection.close()
    harness.wait_for(lambda: all(stamp.exists() for stamp in stamps), what="both workers have a job")
    first = min(int(stamp.read_text()) for stamp in stamps) / 1e9
    daemon.stop()
    return counted - begin, (first - ready) * 1e3


_QUESTIONS = (  # key of the row or None, text, request; @ is the id of a random job
    ("list", "LIST ORDER desc COUNT 500 (what `jobpool list` asks)", ("LIST", "ORDER", "desc", "COUNT", "500")),
    (None, "LIST ORDER desc (100 jobs)", ("LIST", "ORDER", "desc")),
    (None, "LIST STATE ready", ("LIST", "STATE", "ready")),
    (None, "LIST OUTCOME failed", ("LIST", "OUTCOME", "failed")),
    ("show", "SHOW id", ("SHOW", "@")),
    ("queue", "QUEUES", ("QUEUES",)),
)


def _history(bench, daemon):
    """Finish as many jobs, by running them; then ask."""
    daemon.configure(_HELD_BACK)
    daemon.workers = 16
    daemon.start()
    seconds = run_jobs(daemon, bench.finished, bench.noop)
    daemon.check_queue("bulk", ready=bench.queued)
    daemon.stop()
    daemon.workers = 2
    daemon.start()
    answers = {text: [] for _, text, _ in _QUESTIONS}
    last_id = bench.queued + bench.finished
    for _ in range(bench.rounds):
        for key, text, request in _QUESTIONS:
            answer = bench.tool("probe", "-a", daemon.socket, "-n", 200, "-r", f"1:{last_id}", *request)[0]
            answers[text].append(answer)
            if answer["failed"]:
                bench.report.problems.append(f"{text}: {answer['failed']} requests failed")
            if key:
                bench.report.add(key, answer["p99_us"] / 1e3)
    rows = _answer_rows(answers) + _whole_clients(bench, daemon)
    daemon.stop()
    bench.report.detail(
        f"Questions, with {bench.finished:,} finished and {bench.queued:,} queued jobs", ["question", "p50 ms", "p99 ms"], rows,
        f"The {bench.finished:,} jobs were run by 16 workers in {seconds:.0f} s: {bench.finished / seconds:.0f} a second, "
        f"with the {bench.queued:,} others queued.",
    )


def _answer_rows(answers):
    return [[text, *(spread([answer[field] / 1e3 for answer in found], "{:.2f}") for field in ("p50_us", "p99_us"))]
            for text, found in answers.items()]


def _whole_clients(bench, daemon):
    commands = (("list",), ("show", "1"), ("queue",))
    words = []
    for command in commands:
        words += (["---"] if words else []) + daemon.command(*command)
    found = bench.tool("cmdlatency", "-n", 50, *words)
    return _answer_rows({f"`jobpool {' '.join(command)}`, whole process": [f] for command, f in zip(commands, found)})


# --- Another client, while it is busy ---

_BUSY_QUESTIONS = (  # as above
    ("busy-store", "SHOW id", ("SHOW", "@")),
    ("busy-memory", "PING", ("PING",)),
    (None, "QUEUES", ("QUEUES",)),
    (None, "INFO", ("INFO",)),
)


def busy(bench):
    """another client of the slow disk, with 256 jobs in flight all the time"""
    daemon = Jobpool(bench.workspace, 2, slow=True).start()
    run_jobs(daemon, 1000, bench.noop)
    load = bench.workspace.start(
        [TOOLS_DIR / "flight", "-a", daemon.socket, "-w", IN_FLIGHT, bench.noop], stdout=subprocess.PIPE,
    )
    load.stdout.readline()  # steady
    answers = {text: [] for _, text, _ in _BUSY_QUESTIONS}
    for _ in range(bench.rounds):
        for key, text, request in _BUSY_QUESTIONS:
            answer = bench.tool("probe", "-a", daemon.socket, "-n", 300, "-r", "1:1000", *request)[0]
            answers[text].append(answer)
            if key:
                bench.report.add(key, answer["p99_us"] / 1e3)
    load.terminate()
    ended = json.loads(load.stdout.read())["ended"]
    load.stdout.close()
    bench.workspace.forget(load)
    daemon.check_queue("default", unfinished=0, succeeded=1000 + ended)
    daemon.stop()
    bench.report.detail(
        f"Another client's requests, {IN_FLIGHT} jobs in flight, every fsync 2 ms slower", ["request", "p50 ms", "p99 ms"],
        _answer_rows(answers),
    )


ALL = {
    "commands": command_jobs,
    "true": ordinary_command,
    "latency": latency,
    "durable": durable_submissions,
    "slow": slow_disk,
    "idle": idle,
    "busy": busy,
    "large": large_queue,
}
