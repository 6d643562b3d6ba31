# SPDX-License-Identifier: MIT
"""
Processes, ports and folders that end with the tests, whatever happens to them.

Everything a test starts is known by its pid and registered here; atexit ends it in reverse order.
A test runner that is killed takes its children along (parent-death signal).
"""
import atexit
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time

CI = os.environ.get("CI") == "true"
REPOSITORY_ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))

_open = []
_open_lock = threading.Lock()


def opened(thing):
    """Registers something with a close() method that must not outlive the tests."""
    with _open_lock:
        _open.append(thing)
    return thing


def closed(thing):
    with _open_lock:
        if thing in _open:
            _open.remove(thing)


def close_all():
    while True:
        with _open_lock:
            if not _open:
                return
            thing = _open.pop()
        try:
            thing.close()
        except Exception as error:  # the others must still be closed
            print(f"cleanup: {thing!r}: {error}", flush=True)


atexit.register(close_all)


def end_on_signal():
    """SIGTERM and SIGHUP end the run as Ctrl-C does: everything that was started is ended."""

    def end(_number, _frame):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, end)


class Folder:
    """A temporary folder; others may enter it, because servers run as other users."""

    def __init__(self, prefix="pulltap-test-"):
        # a name that is also good within an image's name
        self.path = os.path.join("/tmp", prefix + secrets.token_hex(6))
        os.mkdir(self.path)
        os.chmod(self.path, 0o755)
        opened(self)

    def __truediv__(self, name):
        return os.path.join(self.path, name)

    def make(self, name):
        path = os.path.join(self.path, name)
        os.makedirs(path, exist_ok=True)
        return path

    def write(self, name, text):
        path = os.path.join(self.path, name)
        with open(path, "wb" if isinstance(text, bytes) else "w") as out:
            out.write(text)
        return path

    def close(self):
        closed(self)
        unmount_below(self.path)
        shutil.rmtree(self.path, ignore_errors=True)
        if os.path.exists(self.path):
            raise OSError(f"{self.path} can't be removed")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def unmount_below(path):
    with open("/proc/self/mounts") as mounts:
        points = [line.split()[1].replace("\\040", " ") for line in mounts]
    for point in sorted(points, reverse=True):
        if point == path or point.startswith(path + "/"):
            subprocess.run(["umount", "-l", point], check=False)


def clean_environment(**more):
    """The environment for started programs: no proxies, no locale, no personal settings."""
    keep = {"PATH": "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin", "LC_ALL": "C.UTF-8",
            "HOME": os.environ.get("HOME", "/root")}
    keep.update(more)
    return keep


class Process:
    """A child with its output in files. stop() waits; a child that ignores it is killed."""

    def __init__(self, argv, stdout=None, stderr=None, env=None, user=None, cwd=None,
                 wrap=True):
        prefix = []
        if wrap:
            prefix = ["setpriv", "--pdeathsig", "KILL"]
            if user:
                account = pwd.getpwnam(user)
                prefix += ["--reuid", str(account.pw_uid), "--regid", str(account.pw_gid),
                           "--init-groups"]
            prefix.append("--")
        self.argv = list(argv)
        self._files = []
        self._child = subprocess.Popen(
            prefix + self.argv, stdin=subprocess.DEVNULL, stdout=self._file(stdout),
            stderr=self._file(stderr), env=env or clean_environment(), cwd=cwd,
            start_new_session=True)
        for file in self._files:
            file.close()
        opened(self)

    def _file(self, path):
        if path is None:
            return subprocess.DEVNULL
        file = open(path, "ab")
        self._files.append(file)
        return file

    @property
    def pid(self):
        return self._child.pid

    @property
    def returncode(self):
        return self._child.poll()

    def running(self):
        return self._child.poll() is None

    def send(self, number):
        self._child.send_signal(number)

    def wait(self, timeout):
        try:
            return self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self.argv[0]} (pid {self.pid}) still runs after "
                               f"{timeout} s") from None

    def stop(self, number=signal.SIGTERM, timeout=20):
        """Ends it and returns its exit status (negative: the signal that ended it)."""
        if self.running():
            self.send(number)
            try:
                self.wait(timeout)
            except TimeoutError:
                self.send(signal.SIGKILL)
                self._child.wait()
                closed(self)
                raise
        closed(self)
        return self._child.returncode

    def kill(self):
        return self.stop(signal.SIGKILL)

    def close(self):
        closed(self)
        if self.running():
            self.send(signal.SIGTERM)
            try:
                self._child.wait(10)
            except subprocess.TimeoutExpired:
                self.send(signal.SIGKILL)
                self._child.wait()


class Failed(AssertionError):
    """A program that had to succeed did not; the message holds what it said."""


def run(argv, check=True, timeout=120, env=None, stdin=None, text=True):
    """Runs a program to its end. Its whole output is in the exception when it fails."""
    done = subprocess.run(list(argv), input=stdin, capture_output=True, timeout=timeout,
                          env=env or clean_environment(), check=False,
                          stdin=subprocess.DEVNULL if stdin is None else None)
    if text:
        done.stdout = done.stdout.decode("utf-8", "replace")
        done.stderr = done.stderr.decode("utf-8", "replace")
    if check and done.returncode != 0:
        raise Failed(f"{' '.join(argv)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(condition, timeout=30, every=0.02, what="the condition"):
    """Polls until condition() is true and returns its value; fails with what after timeout."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what() if callable(what) else what}: not within {timeout} s")
        time.sleep(every)


def listening(port, host="127.0.0.1"):
    try:
        with socket.create_connection((host, port), timeout=0.5):
            return True
    except OSError:
        return False


def at_rest(path, what, quiet=0.25, timeout=20):
    """Waits until a log has not grown for a while, and returns its size; one that is not there yet
    has none."""
    end = time.monotonic() + timeout
    size, since = -1, time.monotonic()
    while time.monotonic() < end:
        now = os.path.getsize(path) if os.path.exists(path) else 0
        if now != size:
            size, since = now, time.monotonic()
        elif time.monotonic() - since >= quiet:
            return size
        time.sleep(0.02)
    raise AssertionError(f"{what} never comes to rest")


def find_program(*names):
    """The system's program of that name, or None; /usr/local is looked at last."""
    path = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin"
    for name in names:
        found = shutil.which(name, path=path)
        if found:
            return found
    return None
