"""The protocol on the socket: raw bytes, stock clients, and input that nobody should send."""

import os
import pathlib
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import harness  # noqa: E402


def request(*words):
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


class Raw:
    """A connection that sends what it is told to, and reads replies as Python values: an error is an Exception."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(harness.DEADLINE)
        self.socket.connect(path)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def ask(self, *words):
        self.send(request(*words))
        return self.reply()

    def reply(self):
        line = self.file.readline()
        if not line:
            raise EOFError("the daemon has closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            return Exception(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        return None if rest == b"-1" else [self.reply() for _ in range(int(rest))]

    def is_closed(self):
        try:
            return self.file.read(1) == b""
        except ConnectionResetError:
            return True


def as_map(reply):
    return {name.decode(): value for name, value in zip(reply[::2], reply[1::2])}


class Protocol(harness.Story):
    def setUp(self):
        super().setUp()
        self.jobpool = self.daemon(options=["--workers", "2"])

    def raw(self):
        raw = Raw(self.jobpool.socket)
        self.addCleanup(raw.__exit__)
        return raw

    def assert_error(self, reply, start):
        self.assertIsInstance(reply, Exception)
        self.assertTrue(str(reply).startswith(start), f"{reply} does not start with {start}")

    # --- well-behaved ---

    def test_submit_and_follow_last_travel_in_one_write(self):
        raw = self.raw()
        raw.send(request("SUBMIT", "default", "STREAMS", "split", "CMD", "sh", "-c", "echo out; echo err >&2") +
                 request("WAIT", -1, "LAST") + request("FOLLOW", "LAST", 0, 0, -1) + request("PING"))
        job = raw.reply()
        self.assertEqual(as_map(raw.reply()[0])["outcome"], b"succeeded")
        out_offset, out, err_offset, err, shown = raw.reply()
        self.assertEqual((out_offset, out, err_offset, err), (0, b"out\n", 0, b"err\n"))
        self.assertEqual(as_map(shown)["id"], job)
        self.assertEqual(raw.reply(), "PONG")

    def test_follow_tells_growth_as_it_comes(self):
        gate, raw = self.gate(self.jobpool), self.raw()
        job = raw.ask("SUBMIT", "default", "CMD", *gate.command("printf one", "printf two"))
        self.assertEqual(raw.ask("FOLLOW", job, 0, 0, -1)[:2], [0, b"one"])
        self.assertIsNone(raw.ask("FOLLOW", job, 3, 0, 0))
        raw.send(request("FOLLOW", job, 3, 0, -1))
        gate.open()
        self.assertEqual(raw.reply()[:2], [3, b"two"])
        self.assertEqual(as_map(raw.ask("FOLLOW", job, 6, 0, -1)[4])["code"], 0)

    def test_wait_any_time_outs_and_unknown_ids(self):
        gate, raw = self.gate(self.jobpool), self.raw()
        slow = raw.ask("SUBMIT", "default", "CMD", *gate.command())
        quick = raw.ask("SUBMIT", "default", "CMD", "true")
        self.assertEqual([as_map(job)["id"] for job in raw.ask("WAIT", -1, "ANY", slow, quick)], [quick])
        self.assertIsNone(raw.ask("WAIT", 0, slow, quick))
        self.assertIsNone(raw.ask("WAIT", 20, slow))
        self.assert_error(raw.ask("WAIT", -1, slow, 4711), "NOTFOUND no job 4711")
        self.assertIsNone(raw.ask("JOIN", "default", 0))
        raw.send(request("JOIN", "*", -1))
        gate.open()
        succeeded, failed, commit = raw.reply()
        self.assertEqual((succeeded, failed), (2, 0))
        self.assertGreater(commit, 0)
        self.assertEqual([as_map(job)["state"] for job in raw.ask("WAIT", -1, quick, slow)], [b"done", b"done"])

    def test_a_key_gives_the_same_job(self):
        raw = self.raw()
        job = raw.ask("SUBMIT", "default", "KEY", "k", "CMD", "true")
        self.assertEqual(raw.ask("SUBMIT", "default", "KEY", "k", "CMD", "true"), job)
        self.assert_error(raw.ask("SUBMIT", "default", "KEY", "k", "CMD", "false"), f"ALREADY this key names job {job}")

    def test_input_in_pieces(self):
        raw = self.raw()
        first = os.urandom(70000)
        number, offset = raw.ask("INPUT", "NEW", 0, first)
        self.assertEqual(offset, len(first))
        self.assert_error(raw.ask("INPUT", number, 5, b"x"), "SYNTAX the next offset")
        self.assertEqual(raw.ask("INPUT", number, offset, b"end"), [number, offset + 3])
        job = raw.ask("SUBMIT", "default", "INPUT", number, "CMD", "cat")
        self.assert_error(raw.ask("INPUT", number, offset + 3, b"more"), "ALREADY")
        self.assert_error(raw.ask("SUBMIT", "default", "INPUT", 4711, "CMD", "cat"), "NOTFOUND")
        raw.ask("WAIT", -1, job)
        self.assertEqual(raw.ask("OUTPUT", job, "out", 0), [0, first + b"end", 1])
        self.assertEqual(raw.ask("OUTPUT", job, "out", 69998, "COUNT", 3), [69998, first[69998:] + b"e", 0])

    def test_held_jobs_change_and_go(self):
        raw = self.raw()
        job = raw.ask("SUBMIT", "default", "HOLD", 1, "CMD", "true")
        self.assertTrue(raw.ask("WHY", job).startswith(b"held"))
        self.assertEqual(raw.ask("UPDATE", job, "PRIORITY", 7), "OK")
        self.assertEqual(as_map(raw.ask("SHOW", job))["priority"], 7)
        self.assert_error(raw.ask("SIGNAL", job, "TERM"), "ERR the job is not running")
        self.assertEqual(raw.ask("RELEASE", job), 1)
        self.assertEqual(as_map(raw.ask("WAIT", -1, job)[0])["code"], 0)
        self.assert_error(raw.ask("UPDATE", job, "PRIORITY", 8), "ALREADY")
        self.assert_error(raw.ask("REMOVE", job, 4711), "NOTFOUND")
        self.assertEqual(raw.ask("REMOVE", job), 1)
        self.assert_error(raw.ask("SHOW", job), "NOTFOUND")

    def test_list_pages_both_ways_and_clean_removes(self):
        raw = self.raw()
        ids = [raw.ask("SUBMIT", "default", "NAME", "n", "CMD", "true") for _ in range(25)]
        raw.ask("JOIN", "*", -1)
        for order, expected in (("asc", ids), ("desc", ids[::-1])):
            found, cursor = [], 0
            while True:
                cursor, page = raw.ask("LIST", "NAME", "n", "STATE", "done", "ORDER", order, "COUNT", 10, "CURSOR", cursor)
                found += [as_map(job)["id"] for job in page]
                if cursor == b"0":
                    break
            self.assertEqual(found, expected)
        self.assertEqual(raw.ask("CLEAN", "OUTCOME", "failed"), 0)
        self.assertEqual(raw.ask("CLEAN", "QUEUE", "default"), 25)
        self.assertEqual(raw.ask("CLEAN"), 0)

    # --- bad input ---

    def test_bad_requests_are_named_and_the_connection_stays(self):
        raw = self.raw()
        for words, error in [
            (("NONSENSE",), "ERR unknown command 'NONSENSE'"),
            (("SHOW",), "ERR wrong number of arguments for 'SHOW'"),
            (("SHOW", "x"), "SYNTAX"),
            (("SHOW", "0"), "SYNTAX"),
            (("SHOW", "LAST"), "NOTFOUND"),
            (("SHOW", 2 ** 64), "SYNTAX"),
            (("SHOW", 4711), "NOTFOUND"),
            (("SUBMIT", "default", "CMD"), "ERR"),
            (("SUBMIT", "default", "CMD", ""), "SYNTAX"),
            (("SUBMIT", "default", "CMD", b"a\0b"), "SYNTAX"),
            (("SUBMIT", "default", "BOGUS", "1", "CMD", "true"), "SYNTAX unknown option 'BOGUS'"),
            (("SUBMIT", "nowhere", "CMD", "true"), "NOTFOUND no queue 'nowhere'"),
            (("SUBMIT", "no where", "CMD", "true"), "SYNTAX"),
            (("SUBMIT", "default", "ENV", "4711", "CMD", "true"), "NOTFOUND"),
            (("ENVIRONMENT", "novalue"), "SYNTAX"),
            (("WAIT", "soon", 1), "SYNTAX"),
            (("WAIT", 0, "ANY"), "ERR"),
            (("WAIT", 0, *range(1, 2000)), "LIMIT"),
            (("LIST", "STATE", "sleeping"), "SYNTAX"),
            (("LIST", "COUNT", 501), "SYNTAX"),
            (("CANCEL", 1, 2), "NOTFOUND"),
            (("QUEUE", "PAUSE", "nowhere"), "NOTFOUND"),
            (("POOL", "RESET", "nowhere"), "NOTFOUND"),
            (("HELLO", "3"), "NOPROTO"),
            (("SELECT", "1"), "ERR"),
        ]:
            with self.subTest(words=words[:4]):
                self.assert_error(raw.ask(*words), error)
        self.assertEqual(raw.ask("PING"), "PONG")

    def test_lost_framing_is_told_and_closed(self):
        for data, error in [
            (b"PING\r\n", "SYNTAX"),
            (b"*2\r\n:1\r\n", "SYNTAX"),
            (b"*1\r\n$999999999\r\n", "LIMIT"),
            (b"*999999999\r\n", "LIMIT"),
        ]:
            with self.subTest(data=data), Raw(self.jobpool.socket) as raw:
                raw.send(request("PING") + data)
                self.assertEqual(raw.reply(), "PONG")
                self.assert_error(raw.reply(), error)
                self.assertTrue(raw.is_closed())

    def test_half_a_request_and_silence_disturbs_nobody(self):
        halves = [self.raw() for _ in range(20)]
        for i, raw in enumerate(halves):
            raw.send(request("SUBMIT", "default", "CMD", "true")[:i + 1])
        self.assertEqual(self.raw().ask("PING"), "PONG")
        halves[0].send(request("SUBMIT", "default", "CMD", "true")[1:])
        self.assertEqual(halves[0].reply(), 1)

    def test_a_hundred_thousand_pipelined_requests(self):
        raw = self.raw()
        count = 100000
        sender = threading.Thread(target=raw.send, args=(request("PING") * count,))
        sender.start()
        for _ in range(count):
            self.assertEqual(raw.reply(), "PONG")
        sender.join()

    def test_many_pipelined_submits_each_get_their_own_id(self):
        raw, count = self.raw(), 5000
        self.assertEqual(raw.ask("QUEUE", "PAUSE", "default"), "OK")
        sender = threading.Thread(target=raw.send, args=(request("SUBMIT", "default", "CMD", "true") * count,))
        sender.start()
        self.assertEqual([raw.reply() for _ in range(count)], list(range(1, count + 1)))
        sender.join()
        self.assertEqual(raw.ask("QSIZE", "default"), count)

    def test_a_client_that_never_reads_is_not_read_for_ever(self):
        """Its replies stay in bounds; everybody else is served."""
        raw = self.raw()
        raw.socket.setblocking(False)
        blob, sent = request("PING", b"x" * 60000), 0
        end = time.monotonic() + harness.DEADLINE
        while sent < 200 << 20 and time.monotonic() < end:
            try:
                sent += raw.socket.send(blob)
            except BlockingIOError:
                break
        self.assertLess(sent, 20 << 20)
        self.assertEqual(self.raw().ask("PING"), "PONG")

    def test_bytes_are_kept(self):
        raw = self.raw()
        words = [b"printf", b"%s|", bytes(range(1, 256)), b"\xff\xfe", b""]
        job = raw.ask("SUBMIT", "default", "NAME", b"\x00\xff", "CMD", *words)
        raw.ask("WAIT", -1, job)
        self.assertEqual(raw.ask("OUTPUT", job, "out", 0)[1], b"|".join(words[2:]) + b"|")
        shown = as_map(raw.ask("SHOW", job))
        self.assertEqual((shown["argv"], shown["name"]), (words, b"\x00\xff"))

    def test_long_argv_and_a_request_at_the_limit(self):
        raw = self.raw()
        job = raw.ask("SUBMIT", "default", "CMD", "sh", "-c", 'echo $#', "sh", *["x"] * 4092)
        raw.ask("WAIT", -1, job)
        self.assertEqual(raw.ask("OUTPUT", job, "out", 0)[1], b"4092\n")
        cursor, page = raw.ask("LIST")
        self.assertEqual((cursor, as_map(page[0])["argv_cut"]), (b"0", 1))
        self.assertEqual(len(as_map(raw.ask("SHOW", job))["argv"]), 4096)
        self.assertEqual(raw.ask("PING", b"x" * ((1 << 20) - 4)), b"x" * ((1 << 20) - 4))

    def test_a_client_that_dies_while_it_waits_is_noticed(self):
        raw, gate = self.raw(), self.gate(self.jobpool)
        job = raw.ask("SUBMIT", "default", "CMD", *gate.command())
        for words in (("WAIT", -1, job), ("FOLLOW", job, 0, 0, -1), ("JOIN", "*", -1)):
            with Raw(self.jobpool.socket) as other:
                other.send(request(*words) + request("PING"))
                harness.wait_for(lambda: b"blocked_clients:1\r" in raw.ask("INFO"), what="it waits")
            harness.wait_for(lambda: b"blocked_clients:0\r" in raw.ask("INFO"), what="it is forgotten")
        gate.open()
        raw.ask("WAIT", -1, job)

    # --- stock clients ---

    def test_redis_cli(self):
        def redis_cli(*words):
            return subprocess.run(["redis-cli", "-s", self.jobpool.socket, *words], stdin=subprocess.DEVNULL, check=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=harness.DEADLINE).stdout

        self.assertEqual(redis_cli("SUBMIT", "default", "CMD", "echo", "hi"), b"1\n")
        self.assertIn(b"succeeded", redis_cli("WAIT", "-1", "1"))
        self.assertEqual(redis_cli("OUTPUT", "1", "out", "0"), b"0\nhi\n\n1\n")
        self.assertIn(b"process_id:", redis_cli("INFO"))
        typed = subprocess.run(["redis-cli", "-s", self.jobpool.socket], input=b"help submit\nping\n", check=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=harness.DEADLINE).stdout
        self.assertIn(b"PONG", typed)
        self.assertIn(b"queue [OPTION value]... CMD arg...", typed)

    def test_redis_benchmark(self):
        for words in (["-n", "20000", "-P", "64", "PING"], ["-n", "640", "-P", "16", "-c", "10", "SUBMIT", "default", "CMD", "true"]):
            done = subprocess.run(["redis-benchmark", "-s", self.jobpool.socket, "-q", *words], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=harness.DEADLINE, check=True)
            self.assertIn(b"requests per second", done.stdout)
            self.assertNotIn(b"rror", done.stdout)
        self.assertEqual(self.raw().ask("JOIN", "default", -1)[:2], [640, 0])

    def test_python_redis(self):
        client = self.jobpool.client()
        self.addCleanup(client.close)
        self.assertTrue(client.ping())
        self.assertEqual(client.info()["process_id"], self.jobpool.process.pid)
        pipeline = client.pipeline(transaction=False)
        for i in range(10):
            pipeline.execute_command("SUBMIT", "default", "CMD", "echo", i)
        ids = pipeline.execute()
        self.assertEqual(client.execute_command("JOIN", "default", -1)[:2], [10, 0])
        self.assertEqual([client.execute_command("OUTPUT", job, "out", 0)[1] for job in ids], [b"%d\n" % i for i in range(10)])

    # --- the server ---

    def test_who_waits_is_told_of_the_stop(self):
        raw, other, gate = self.raw(), self.raw(), self.gate(self.jobpool)
        job = raw.ask("SUBMIT", "default", "CMD", *gate.command())
        gate.wait_arrival()
        raw.send(request("WAIT", -1, job))
        other.send(request("FOLLOW", job, 0, 0, -1))
        harness.wait_for(lambda: b"blocked_clients:2\r" in self.raw().ask("INFO"), what="both wait")
        self.jobpool.terminate()
        self.assert_error(raw.reply(), "UNAVAILABLE")
        self.assert_error(other.reply(), "UNAVAILABLE")
        self.assertTrue(raw.is_closed())
        self.assertFalse(os.path.exists(self.jobpool.socket))
        self.jobpool.start()
        gate.open()
        self.assertEqual(as_map(self.raw().ask("WAIT", -1, job)[0])["code"], 0)


class Limits(harness.Story):
    def test_clients_beyond_the_limit_wait_their_turn(self):
        jobpool = self.daemon("limits: { connections: 5 }\n")
        clients = [Raw(jobpool.socket) for _ in range(5)]
        late = Raw(jobpool.socket)
        self.addCleanup(late.__exit__)
        for raw in clients:
            self.assertEqual(raw.ask("PING"), "PONG")
        late.send(request("PING"))
        late.socket.settimeout(0.05)
        with self.assertRaises(TimeoutError):
            late.socket.recv(1)
        late.socket.settimeout(harness.DEADLINE)
        for raw in clients:
            raw.__exit__()
        self.assertEqual(late.socket.recv(100), b"+PONG\r\n")

    def test_a_full_queue_says_which_limit(self):
        jobpool = self.daemon("queues: { default: { max_length: 2 } }\nlimits: { input_bytes: 10 }\n")
        with Raw(jobpool.socket) as raw:
            raw.ask("QUEUE", "PAUSE", "default")
            replies = [raw.ask("SUBMIT", "default", "CMD", "true") for _ in range(3)]
            self.assertEqual(replies[:2], [1, 2])
            self.assertTrue(str(replies[2]).startswith("FULL queue default holds 2"), replies[2])
            self.assertTrue(str(raw.ask("INPUT", "NEW", 0, b"x" * 11)).startswith("LIMIT"))

    def test_retention_keeps_as_many_as_it_says(self):
        jobpool = self.daemon("retention: { jobs: 5 }\n", options=["--workers", "1"])
        with Raw(jobpool.socket) as raw:
            # The first to be submitted is the last to finish: the longest finished go, not the lowest ids.
            late = raw.ask("SUBMIT", "default", "PRIORITY", -1, "HOLD", 1, "CMD", "head", "-c", "100000", "/dev/zero")
            ids = [raw.ask("SUBMIT", "default", "CMD", "head", "-c", "100000", "/dev/zero") for _ in range(20)]
            raw.ask("RELEASE", late)
            raw.ask("JOIN", "*", -1)
            harness.wait_for(lambda: len(raw.ask("LIST")[1]) == 5, what="the oldest are removed")
            self.assertEqual([as_map(job)["id"] for job in raw.ask("LIST")[1]], [late, *ids[-4:]])
            harness.wait_for(lambda: len(os.listdir(jobpool.state_dir / "output")) == 5, what="their files too")

    def test_a_second_daemon_is_refused_with_the_pid_of_the_first(self):
        jobpool = self.daemon()
        done = subprocess.run([harness.JOBPOOLD, "--state-dir", jobpool.state_dir, "--socket", jobpool.root / "other"],
                              stderr=subprocess.PIPE, timeout=harness.DEADLINE, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"pid=%d" % jobpool.process.pid, done.stderr)
        done = subprocess.run([harness.JOBPOOLD, "--state-dir", jobpool.root / "state2", "--socket", jobpool.socket],
                              stderr=subprocess.PIPE, timeout=harness.DEADLINE, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"another program serves it", done.stderr)

    def test_bad_places_are_named(self):
        root = self.daemon().root
        for options, message in [
            (["--state-dir", root / "x", "--socket", root / ("s" * 120)], b"longer than the 107 bytes"),
            (["--state-dir", "/proc/nowhere", "--socket", root / "s"], b"cannot make the state directory /proc/nowhere"),
            (["--state-dir", root / "x", "--socket", root / "home"], b"no socket"),
            (["--config", root / "missing.yaml"], b"missing.yaml"),
        ]:
            with self.subTest(options=options):
                done = subprocess.run([harness.JOBPOOLD, *options], stderr=subprocess.PIPE, timeout=harness.DEADLINE, check=False)
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertIn(message, done.stderr)

    def test_a_stale_socket_is_replaced_and_a_long_state_directory_works(self):
        jobpool = self.daemon(start=False)
        jobpool.state_dir = jobpool.root / ("d" * 100) / ("e" * 90)
        jobpool.start()
        jobpool.kill()
        self.assertTrue(os.path.exists(jobpool.socket))
        jobpool.start()
        with Raw(jobpool.socket) as raw:
            self.assertEqual(as_map(raw.ask("WAIT", -1, raw.ask("SUBMIT", "default", "CMD", "true"))[0])["code"], 0)


if __name__ == "__main__":
    harness.main()
