"""How daemons start and end: alone, by a client, without room, without descriptors, with long paths."""

import os
import pathlib
import resource
import signal
import socket
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import harness  # noqa: E402


class Stop(harness.Story):
    def test_sigterm_and_ctrl_c_stop_cleanly(self):
        jobpool = self.daemon()
        for number in (signal.SIGTERM, signal.SIGINT):
            self.assertEqual(jobpool.kill(number), 0)
            self.assertFalse(os.path.exists(jobpool.socket))
            jobpool.start()
        jobpool.cli("run", "--", "true")

    def test_running_jobs_are_left_and_found_again(self):
        for end in (["stop"], ["stop", "--leave"]):
            with self.subTest(end=end):
                jobpool = self.daemon(options=["--workers", "2"])
                gate = self.gate(jobpool)
                job = jobpool.submit("--", *gate.command(after="exit 3"))
                pid = gate.wait_arrival()
                jobpool.cli(*end)
                self.assertEqual(jobpool.wait_ended(), 0)
                os.kill(pid, 0)
                jobpool.start()
                gate.open()
                jobpool.cli("wait", job, check=3)
                self.assert_outcome(jobpool, job, "failed", exit_code=3, attempt=1)

    def test_stop_kill_ends_all_and_the_jobs_are_lost(self):
        jobpool = self.daemon(options=["--workers", "2"])
        gate = self.gate(jobpool)
        job = jobpool.submit("--", *gate.command('trap "" TERM; setsid sleep 1000 &'))
        gate.wait_arrival()
        waiting = jobpool.submit("--hold", "--", "true")
        jobpool.stop_kill()
        jobpool.start()
        self.assert_outcome(jobpool, job, "lost")
        self.assertEqual(jobpool.show(waiting)["state"], "held")

    def test_without_jobs_all_processes_are_gone_after_stop_kill(self):
        jobpool = self.daemon()
        jobpool.stop_kill()
        self.assertEqual(harness.processes_of(jobpool.root), {})
        jobpool.start()
        jobpool.cli("run", "--", "true")

    def test_the_supervisor_ends_after_the_daemon_when_nothing_runs(self):
        jobpool = self.daemon()
        jobpool.cli("run", "--", "true")
        jobpool.terminate()
        # It stays for a minute, for the next daemon; the story cannot: it only looks that it is the one the next start finds.
        before = self.supervisors(jobpool)
        jobpool.start()
        self.assertEqual(self.supervisors(jobpool), before)
        self.assertEqual(len(before), 1)

    @staticmethod
    def supervisors(jobpool):
        return [pid for pid, command in harness.processes_of(jobpool.root).items() if "jobpool-supervisor" in command]


class Start(harness.Story):
    def jobpoold(self, *args, **kwargs):
        """Run a jobpoold that is expected to end by itself; returns (status, stderr)."""
        done = subprocess.run([harness.JOBPOOLD, *map(str, args)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True, timeout=harness.DEADLINE, check=False, **kwargs)
        return done.returncode, done.stderr

    def test_a_second_daemon_is_refused(self):
        jobpool = self.daemon()
        status, said = self.jobpoold("--state-dir", jobpool.state_dir, "--socket", jobpool.root / "other.sock")
        self.assertEqual(status, 1)
        self.assertIn("another jobpoold uses this state directory", said)
        self.assertIn(f"pid={jobpool.process.pid}", said)
        jobpool.cli("run", "--", "true")

    def test_the_socket_of_another_daemon_is_not_taken(self):
        jobpool, other = self.daemon(), self.daemon(start=False)
        status, said = self.jobpoold("--state-dir", other.state_dir, "--socket", jobpool.socket)
        self.assertEqual(status, 1)
        self.assertIn(jobpool.socket, said)
        harness.kill_processes_of(other.root)
        jobpool.cli("run", "--", "true")

    def test_a_socket_path_that_is_too_long_is_refused(self):
        jobpool = self.daemon(start=False)
        path = jobpool.root / ("s" * 120)
        status, said = self.jobpoold("--state-dir", jobpool.state_dir, "--socket", path)
        self.assertEqual(status, 1)
        self.assertIn("longer than the 107 bytes", said)
        self.assertEqual(harness.processes_of(jobpool.root), {})
        done = subprocess.run([harness.JOBPOOL, "--socket", path, "ping"], stderr=subprocess.PIPE, check=False)
        self.assertEqual(done.returncode, 4)
        self.assertIn(b"too long", done.stderr)

    def test_a_state_directory_with_a_path_of_200_bytes(self):
        root = pathlib.Path(self.daemon(start=False).root)
        directory = root / ("d" * 100)
        directory /= "e" * (200 - len(str(directory)) - 1)
        self.assertEqual(len(str(directory)), 200)
        jobpool = self.daemon(state_dir=directory)
        jobpool.cli("run", "--", "seq", "1", "100000")
        gate = self.gate(jobpool)
        job = jobpool.submit("--", *gate.command(after="echo after"))
        gate.wait_arrival()
        jobpool.restart(signal.SIGKILL)
        gate.open()
        jobpool.cli("wait", job)
        self.assertEqual(jobpool.cli("log", job)[1], b"after\n")

    def test_a_state_directory_that_cannot_be_written_is_refused(self):
        for directory, words in (("/proc/jobpool", "/proc/jobpool"), ("/dev/null/state", "Not a directory")):
            status, said = self.jobpoold("--state-dir", directory, "--socket", "/tmp/jobpool-test-none.sock")
            self.assertEqual(status, 1)
            self.assertIn(words, said)

    def test_wrong_options_are_refused(self):
        for args in (["--no-such"], ["--workers", "0"], ["--workers", "many"], ["--supervisor", "maybe"], ["word"], ["--state-dir"]):
            with self.subTest(args=args):
                status, said = self.jobpoold(*args)
                self.assertEqual(status, 2)
                self.assertIn("jobpoold", said)

    def test_version_and_help_need_nothing(self):
        for option in ("--version", "--help"):
            done = subprocess.run([harness.JOBPOOLD, option], stdout=subprocess.PIPE, check=True)
            self.assertIn(b"jobpoold", done.stdout)

    def test_a_client_without_a_daemon_says_what_to_do(self):
        jobpool = self.daemon(start=False)
        for verb, code in ((["ping"], 4), (["submit", "--", "true"], 4), (["run", "--", "true"], 125), (["wait", "1"], 125), ([], 4)):
            with self.subTest(verb=verb):
                said = jobpool.cli(*verb, check=code)[2].decode()
                self.assertIn(jobpool.socket, said)
                self.assertIn("jobpoold --socket", said)


class Descriptors(harness.Story):
    def test_used_up_descriptors_make_clients_wait_and_lose_nothing(self):
        jobpool = self.daemon(start=False, options=["--workers", "2"])
        limit = 64
        jobpool.preexec = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        jobpool.start()
        jobpool.expect_log("cannot accept a client")
        gate = self.gate(jobpool)
        job = jobpool.submit("--", *gate.command(after="exit 3"))
        gate.wait_arrival()
        clients = []
        for _ in range(2 * limit):
            client = socket.socket(socket.AF_UNIX)
            client.connect(jobpool.socket)
            clients.append(client)
        # Those that were let in are served; the others wait in the backlog.
        clients[0].sendall(b"*1\r\n$4\r\nPING\r\n")
        self.assertEqual(clients[0].recv(64), b"+PONG\r\n")
        with jobpool.popen("wait", job) as wait:
            gate.open()
            for client in clients:
                client.close()
            wait.communicate()
        self.assertEqual(wait.returncode, 3)
        jobpool.cli("run", "--", "true")

    def test_more_connections_than_allowed_wait_for_their_turn(self):
        jobpool = self.daemon("limits: { connections: 5 }\n")
        clients = []
        for _ in range(5):
            client = socket.socket(socket.AF_UNIX)
            client.connect(jobpool.socket)
            client.sendall(b"*1\r\n$4\r\nPING\r\n")
            self.assertEqual(client.recv(64), b"+PONG\r\n")
            clients.append(client)
        with jobpool.popen("ping") as ping:
            clients.pop().close()
            self.assertEqual(ping.communicate()[0], b"PONG\n")
        for client in clients:
            client.close()


class Autostart(harness.Story):
    """The client starts the user's own daemon, in the directories of the XDG rules."""

    def setUp(self):
        super().setUp()
        self.home = self.daemon(start=False)  # only its directory, its environment and its cleaning up
        runtime = self.home.root / "run"
        runtime.mkdir(mode=0o700)
        self.env = {"XDG_RUNTIME_DIR": str(runtime), "JOBPOOL_AUTOSTART": None, "XDG_STATE_HOME": str(self.home.root / "xdg-state")}
        self.addCleanup(self.stop)

    def cli(self, *args, check=0, env=None):
        done = subprocess.run([harness.JOBPOOL, *map(str, args)], env=self.home.environment({**self.env, **(env or {})}), cwd=self.home.root,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=harness.DEADLINE, check=False)
        self.assertEqual(done.returncode, check, done)
        return done.stdout, done.stderr

    def stop(self):
        subprocess.run([harness.JOBPOOL, "stop", "--kill"], env=self.home.environment(self.env), stderr=subprocess.DEVNULL, check=False)
        harness.wait_for(lambda: not harness.processes_of(self.home.root), what="the daemon is gone")

    def test_the_first_command_starts_the_users_own_daemon(self):
        out, said = self.cli("run", "--", "sh", "-c", "echo hello; exit 3", check=3)
        self.assertEqual(out, b"hello\n")
        self.assertIn(b"starting your own", said)
        self.assertTrue((self.home.root / "run/jobpool/jobpool.sock").is_socket())
        self.assertTrue((self.home.root / "xdg-state/jobpool/jobpoold.log").read_text())
        out, said = self.cli("run", "--", "echo", "again")
        self.assertEqual((out, said), (b"again\n", b""))

    def test_without_xdg_variables_the_state_is_in_the_home_directory(self):
        env = {"XDG_STATE_HOME": None}
        self.cli("submit", "--", "true", env=env)
        self.assertTrue((self.home.root / "home/.local/state/jobpool").is_dir())

    def test_many_clients_at_once_start_one_daemon(self):
        clients = [subprocess.Popen([harness.JOBPOOL, "run", "--", "echo", "hello"], env=self.home.environment(self.env), cwd=self.home.root,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(8)]
        for client in clients:
            with client:
                self.assertEqual(client.communicate()[0], b"hello\n")
        daemons = [command for command in harness.processes_of(self.home.root).values() if "jobpoold " in command]
        self.assertEqual(len(daemons), 1, daemons)

    def test_the_daemon_outlives_the_client_and_its_terminal(self):
        out, _ = self.cli("submit", "--", "true")
        self.cli("wait", int(out))
        self.assertTrue(harness.processes_of(self.home.root))

    def test_some_verbs_never_start_one(self):
        for verb in ("ping", "stop", "reload"):
            self.cli(verb, check=4)
        self.assertEqual(harness.processes_of(self.home.root), {})

    def test_autostart_can_be_forbidden(self):
        said = self.cli("list", check=4, env={"JOBPOOL_AUTOSTART": "0"})[1]
        self.assertIn(b"jobpoold --socket", said)
        self.assertEqual(harness.processes_of(self.home.root), {})

    def test_a_daemon_that_cannot_start_is_explained(self):
        config = self.home.root / "home/.config/jobpool/jobpool.yaml"
        config.parent.mkdir(parents=True)
        config.write_text("pool: {}\n")
        said = self.cli("list", check=4)[1].decode()
        self.assertIn(f"{config}:1:1", said)


if __name__ == "__main__":
    harness.main()
