# SPDX-License-Identifier: MIT
"""
What deploy/systemd/ promises, as far as it can be seen without a running service manager: the unit
is valid, its filter of system calls has room for the agent, and the agent speaks sd_notify.
"""
import os
import re
import signal
import socket
import time

import pytest

from lib import books
from lib.agent import Agent
from lib.images import Image
from lib.load import curl, mixed
from lib.proc import REPOSITORY_ROOT, find_program, run, until
from lib.registry import Registry
from lib.rights import USER, start_as_service
from lib.truth import Truth

pytestmark = pytest.mark.needs_pulltap

UNIT = f"{REPOSITORY_ROOT}/deploy/systemd/pulltap.service"


def unit_settings():
    found = {}
    with open(UNIT) as lines:
        for line in lines:
            if "=" in line and not line.startswith("#"):
                name, value = line.rstrip("\n").split("=", 1)
                found.setdefault(name, []).append(value)
    return found


def make(*arguments):
    return run(["make", "-s", "-C", REPOSITORY_ROOT, *arguments])


def test_an_installation_is_whole_and_goes_again(folder):
    prefix = folder / "usr"
    make("install", f"PREFIX={prefix}", f"SYSCONFDIR={folder / 'etc'}")
    run(["systemd-analyze", "verify", f"{prefix}/lib/systemd/system/pulltap.service"])
    assert "pulltap " in run([f"{prefix}/bin/pulltap", "--version"]).stdout
    # the sample is valid and changes nothing
    config = f"{folder / 'etc'}/pulltap/pulltap.conf"
    run([f"{prefix}/bin/pulltap", "run", "--config", config, "--print-config"])
    with open(config, "a") as file:
        file.write("node = mine\n")
    make("install", f"PREFIX={prefix}", f"SYSCONFDIR={folder / 'etc'}")
    make("uninstall", f"PREFIX={prefix}", f"SYSCONFDIR={folder / 'etc'}")
    left = [os.path.join(path, name) for path, _, names in os.walk(folder.path) for name in names]
    assert left == [config]
    with open(config) as file:
        assert "node = mine\n" in file.read()


def test_the_unit_is_as_hard_as_the_docs_say():
    said = run(["systemd-analyze", "security", "--offline=true", "--no-pager", UNIT]).stdout
    level = re.search(r"Overall exposure level for pulltap.service: ([0-9.]+) OK", said)
    assert level, said[-300:]
    with open(f"{REPOSITORY_ROOT}/docs/security.md") as docs:
        quoted = re.search(r"level for pulltap.service: ([0-9.]+) OK", docs.read())
    assert float(level.group(1)) <= float(quoted.group(1))


def allowed_calls():
    """Names of SystemCallFilter= in the order of its lines; a ~ takes away."""

    def expand(name):
        if not name.startswith("@"):
            return {name}
        lines = run(["systemd-analyze", "syscall-filter", "--no-pager", name]).stdout.splitlines()
        names = [line.strip() for line in lines[1:] if not line.strip().startswith("#")]
        return set().union(*(expand(member) for member in names if member))

    allowed = set()
    for line in unit_settings()["SystemCallFilter"]:
        for name in line.lstrip("~").split():
            allowed = allowed - expand(name) if line[0] == "~" else allowed | expand(name)
    return allowed


def test_the_units_filter_has_room_for_what_the_agent_calls(keep, database, folder):
    registry = keep(Registry())
    agent = keep(Agent(database.conninfo(), target=registry.binary, wait_ready=False))
    os.chmod(folder.path, 0o777)
    trace = folder / "trace"
    capabilities = unit_settings()["AmbientCapabilities"][0].lower().replace("cap_", "").split()
    assert unit_settings()["CapabilityBoundingSet"] == unit_settings()["AmbientCapabilities"]
    start_as_service(agent, capabilities, [find_program("strace"), "-f", "-qq", "-o", trace])
    registry.start()
    agent.wait_log("target attached")
    registry.push(Image("service"), "team/app", "v1")
    since = registry.mark()
    curl(registry, mixed(registry.names()))
    registry.settle()
    with open(f"/proc/{agent.pid}/task/{agent.pid}/children") as file:
        os.kill(int(file.read().split()[0]), signal.SIGINT)  # strace's child
    assert agent.process.wait(60) == 0
    books.check(database, Truth(registry.names()).feed(
        [r for r in registry.requests() if "/manifests/" in r.uri and r.method != "PUT"]))
    assert len(registry.requests(since)) == 4
    with open(trace) as lines:
        called = set(re.findall(r"^\d+ +([a-z0-9_]+)\(", lines.read(), re.M))
    assert {"bpf", "perf_event_open", "seccomp", "execve"} <= called
    assert called - allowed_calls() == set()


class Manager:
    """The end of NOTIFY_SOCKET that systemd has."""

    def __init__(self, folder):
        self.path = folder / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        os.chmod(self.path, 0o777)
        self.socket.settimeout(0.1)
        self.heard = []

    def listen(self, seconds):
        """What is said within that time."""
        found, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                found += self.socket.recv(4096).decode().splitlines()
            except socket.timeout:
                continue
        self.heard += found
        return found

    def wait(self, line):
        until(lambda: line in self.listen(0.2), 60, what=f"{line} from the agent")

    def close(self):
        self.socket.close()


@pytest.fixture
def manager(keep, folder):
    return keep(Manager(folder))


@pytest.mark.parametrize("user", [(), ("--user", USER)], ids=["root", "unprivileged"])
def test_a_service_manager_hears_ready_status_and_signs_of_life(keep, manager, user):
    agent = keep(Agent("host=/nonexistent", arguments=user, wait_ready=False,
                       environment={"NOTIFY_SOCKET": manager.path}))
    agent.start()
    manager.wait("READY=1")
    assert "ready" in agent.log()
    manager.wait("WATCHDOG=1")
    assert any(re.fullmatch(r"STATUS=counting, database [a-z]+, \d+ windows wait", line)
               for line in manager.heard), manager.heard
    # one that hangs gives no sign
    agent.process.send(signal.SIGSTOP)
    manager.listen(0.5)
    assert manager.listen(3) == []
    agent.process.send(signal.SIGCONT)
    manager.wait("WATCHDOG=1")
    agent.process.send(signal.SIGTERM)
    manager.wait("STOPPING=1")
    assert agent.process.wait(60) == 0
