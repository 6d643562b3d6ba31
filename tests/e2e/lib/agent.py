# SPDX-License-Identifier: MIT
"""
pulltap as a test runs it: a state folder and a folder under /sys/fs/bpf of its own, so that any
number of tests can run beside each other and beside an agent of the machine.
"""
import json
import os
import re
import secrets
import shutil
import signal
import subprocess

from .proc import (Failed, Folder, Process, REPOSITORY_ROOT, clean_environment, closed, opened,
                   run, until)

BPFFS = "/sys/fs/bpf"
BINARY = os.environ.get("PULLTAP", os.path.join(REPOSITORY_ROOT, "build", "pulltap"))
# Every agent as an unprivileged user behind its filter of system calls: `make test-sandbox`.
SANDBOX = os.environ.get("PULLTAP_TEST_SANDBOX") == "1"
SANDBOX_USER = "nobody"


def ensure_bpffs():
    if not os.path.ismount(BPFFS):
        subprocess.run(["mount", "-t", "bpf", "bpf", BPFFS], check=True)


def pulltap(*arguments, check=True, env=None, timeout=120):
    """Runs a command of pulltap that ends by itself."""
    return run([BINARY, *arguments], check=check, env=env, timeout=timeout)


def migrate(postgres):
    pulltap("migrate", "--database", postgres.conninfo())


def log_fields(line):
    """key=value pairs of a log line; quoted values without their quotes."""
    fields = {}
    for key, quoted, plain in re.findall(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|(\S*))', line):
        fields[key] = quoted or plain
    return fields


class Agent:
    """
    target: a pid or an executable; registry: the name it is counted under
    arguments: further options of `pulltap run`
    start() waits until it is attached and ready; it may be started again after it ended.
    """

    def __init__(self, database=None, target=None, registry="test", window=1, hint=0,
                 arguments=(), wait_ready=True, environment=None):
        self.folder = Folder("pulltap-agent-")
        self.state = self.folder.make("state")
        self.bpffs = os.path.join(BPFFS, "pulltap-test-" + secrets.token_hex(4))
        self.log_path = self.folder / "log"
        self.registry = registry
        self.process = None
        self.binary = BINARY  # another build, from the next start on
        self.under = []  # a program that starts it
        self._seen = 0
        self._environment = dict(environment or {})
        self.arguments = ["--state-dir", self.state, "--bpffs", self.bpffs, "--no-discover",
                          "--window", str(window), "--hint-time", str(hint),
                          "--log-level", "debug",
                          # small servers at full speed: probes cost far more than a percent
                          "--guard-budget", "0"]
        if database is not None and "password" in database:
            self._environment["PULLTAP_DATABASE"] = database
        elif database is not None:
            self.arguments += ["--database", database]
        if target is not None:
            self.arguments += ["--target", f"{registry}={target}"]
        self.arguments += list(arguments)
        if SANDBOX and "--user" not in self.arguments:
            self.arguments += ["--user", SANDBOX_USER]
        self.wait_ready = wait_ready
        ensure_bpffs()
        opened(self)

    def start(self, *more, ready=None):
        self.forget_log()
        env = clean_environment(HOME=self.folder.path, **self._environment)
        self.process = Process([*self.under, self.binary, "run", *self.arguments, *more],
                               stdout=self.log_path, stderr=self.log_path, env=env)
        if self.wait_ready if ready is None else ready:
            self.wait_log("ready", 60)
        return self

    def forget_log(self):
        """What was logged so far is an earlier start's."""
        self._seen = os.path.getsize(self.log_path) if os.path.exists(self.log_path) else 0

    @property
    def pid(self):
        return self.process.pid

    def log(self, everything=False):
        """What it has logged since its last start (or ever), as text."""
        with open(self.log_path, errors="replace") as log:
            log.seek(0 if everything else self._seen)
            return log.read()

    def events(self, message=None):
        """Log lines as dicts, of one message or all."""
        found = [log_fields(line) for line in self.log().splitlines()]
        return [event for event in found if message in (None, event.get("msg"))]

    def wait_log(self, message, timeout=30):
        def logged():
            if f'msg="{message}"' in self.log():
                return True
            if not self.process.running():
                raise Failed(f"pulltap run ended with {self.process.returncode} before it said "
                             f'"{message}":\n{self.log()[-4000:]}')
            return False

        until(logged, timeout, what=lambda: f'pulltap says "{message}"\n{self.log()[-4000:]}')

    def stop(self, timeout=60):
        """SIGINT: last drain, everything is shipped, nothing stays in the kernel."""
        status = self.process.stop(signal.SIGINT, timeout)
        if status != 0:
            raise Failed(f"pulltap run ended with {status} on SIGINT:\n{self.log()[-4000:]}")
        left = self.pinned()
        if left:
            raise Failed(f"pinned objects stay after SIGINT: {left}\n{self.log()[-2000:]}")

    def pause(self, timeout=60):
        """SIGTERM: last drain and shipping; the programs keep counting for the next agent."""
        status = self.process.stop(signal.SIGTERM, timeout)
        if status != 0:
            raise Failed(f"pulltap run ended with {status} on SIGTERM:\n{self.log()[-4000:]}")

    def kill(self):
        return self.process.kill()

    def pinned(self):
        if not os.path.isdir(self.bpffs):
            return []
        return sorted(os.path.relpath(os.path.join(path, name), self.bpffs)
                      for path, _, names in os.walk(self.bpffs) for name in names)

    def spool(self):
        """Names of the windows that wait to be shipped."""
        return sorted(name for path, _, names in os.walk(self.state) for name in names
                      if name.endswith(".win") and os.path.basename(path) != "bad")

    def status(self):
        """`pulltap status --output json` of this agent."""
        # exit status 1 says that a person should look, not that it failed
        done = pulltap("status", "--output", "json", "--state-dir", self.state,
                       "--bpffs", self.bpffs, check=False)
        if not done.stdout:
            raise Failed(done.stderr)
        return json.loads(done.stdout)

    def status_file(self):
        """What the agent wrote of itself last, whether it runs or not."""
        with open(os.path.join(self.state, "status.json")) as file:
            return json.load(file)

    def close(self):
        closed(self)
        if self.process:
            self.process.send(signal.SIGINT) if self.process.running() else None
            try:
                self.process.wait(10)
            except TimeoutError:
                self.process.kill()
            closed(self.process)
        # whatever is pinned goes, and with it the last reference to the probes
        shutil.rmtree(self.bpffs, ignore_errors=True)
        self._end_embedded()
        self.folder.close()

    def _end_embedded(self):
        """An embedded cluster that lost its agent."""
        for path, _, names in os.walk(self.state):
            if "postmaster.pid" in names:
                with open(os.path.join(path, "postmaster.pid")) as file:
                    pid = int(file.readline())
                try:
                    os.kill(pid, signal.SIGQUIT)
                except ProcessLookupError:
                    continue
                until(lambda: not os.path.exists(f"/proc/{pid}"), 20, what="embedded cluster ends")

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()
