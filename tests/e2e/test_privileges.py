# SPDX-License-Identifier: MIT
"""
An agent that gave up its rights, seen from outside: what /proc says about each of its threads and
of its helper, that it still finds and counts everything, and that root's agents and unprivileged
ones take each other's place.
"""
import os
import shlex
import signal

import pytest

from lib import books
from lib.agent import Agent, BINARY, pulltap
from lib.images import Image
from lib.load import curl, mixed, pull
from lib.proc import Process, run, until
from lib.registry import Registry
from lib.rights import UID, USER, bits, children, start_as_service, status, tasks, without_user
from lib.truth import Truth

pytestmark = pytest.mark.needs_pulltap

def helper(agent):
    found = [pid for pid in children(agent.pid)
             if status(f"/proc/{pid}")["Name"] == "pulltap-helper"]
    assert len(found) == 1, found
    return found[0]


def expected_helper(agent):
    """One of two sets, depending on what this kernel asks for; the log says which."""
    event = agent.events("privileges dropped")[0]
    keeps = set(name[len("cap_"):] for name in event["helper_keeps"].split(","))
    assert keeps in ({"dac_read_search", "sys_ptrace", "sys_admin"},
                     {"dac_read_search", "sys_ptrace", "perfmon", "bpf"}), keeps
    return bits(keeps)


def assert_rights(path, capabilities, uid=UID):
    found = status(path)
    assert found["Uid"].split() == [str(uid)] * 4
    assert "0" not in found["Gid"].split() + found["Groups"].split()
    for name in ("CapPrm", "CapEff", "CapBnd"):
        assert int(found[name], 16) == capabilities, (path, name, found[name])
    for name in ("CapInh", "CapAmb"):
        assert int(found[name], 16) == 0, (path, name, found[name])
    assert found["NoNewPrivs"] == "1", path
    assert found["Seccomp"] == "2", path


def filled(keep, mode=0o755):
    """A started registry with four images; mode of its binary, which is root's."""
    registry = keep(Registry())
    os.chmod(registry.binary, mode)
    registry.start()
    for number in range(4):
        registry.push(Image(f"privileges-{number}"), f"team/app-{number}", "v1", "latest")
    return registry


def test_no_thread_keeps_a_right_and_every_registry_is_counted(keep, database):
    """The registry starts later, is root's, and its binary is for root's eyes only."""
    registry = keep(Registry())
    os.chmod(registry.binary, 0o700)
    agent = keep(Agent(database.conninfo(), target=registry.binary,
                       arguments=["--user", USER])).start()
    registry.start()
    agent.wait_log("target attached")
    assert len(tasks(agent.pid)) >= 2  # the loop and the shipper
    for task in tasks(agent.pid):
        assert_rights(task, 0)
    assert_rights(f"/proc/{helper(agent)}", expected_helper(agent))
    # no way from the helper to what the agent has open, and nothing to write to but the log
    open_files = [os.readlink(f"/proc/{helper(agent)}/fd/{fd}")
                  for fd in os.listdir(f"/proc/{helper(agent)}/fd")]
    assert sorted(open_files) == sorted(["/dev/null", agent.log_path, agent.log_path]
                                        + [name for name in open_files if "socket" in name])
    registry.push(Image("late"), "team/late", "v1")
    registry.settle()
    truth = pull(registry, Truth(registry.names()))
    agent.stop()
    books.check(database, truth)
    for path, folders, files in os.walk(agent.state):
        for name in [".", *folders, *files]:
            assert os.lstat(os.path.join(path, name)).st_uid == UID, (path, name)


def test_agents_of_root_and_of_nobody_adopt_each_others_set(keep, database):
    registry = filled(keep)
    truth = Truth(registry.names())
    agent = keep(Agent(database.conninfo(), target=registry.binary))
    agent.arguments = without_user(agent)
    for turn in range(5):
        agent.start(*(["--user", USER] if turn % 2 else []))
        assert bool(agent.events("adopted what counts already")) == (turn > 0)
        assert bool(agent.events("privileges dropped")) == bool(turn % 2)
        pull(registry, truth)
        assert agent.status()
        doctor = pulltap("doctor", "--bpffs", agent.bpffs, "--state-dir", agent.state,
                         "--database", database.conninfo(), check=False).stdout
        assert (f"pid {agent.pid} runs as uid {UID}" in doctor) == bool(turn % 2), doctor
        assert ("start it with --user=NAME" in doctor) == (not turn % 2), doctor
        if turn == 3:
            agent.kill()
        else:
            agent.pause()
        pull(registry, truth)  # counted while no agent runs
        # the operator's commands work with whoever's pins
        assert "off" in pulltap("off", "--bpffs", agent.bpffs).stdout
        curl(registry, mixed(registry.names()))  # not counted
        registry.settle()
        assert pulltap("on", "--bpffs", agent.bpffs).stdout.startswith("on")
        pulltap("top", "--output", "json", "--bpffs", agent.bpffs)
    assert "removed" in pulltap("uninstall", "--bpffs", agent.bpffs, "--state-dir",
                                agent.state).stdout
    assert not os.path.exists(agent.bpffs)
    # what root put into the spool is an unprivileged agent's to ship, who never was root
    start_as_service(agent)
    agent.stop()
    books.check(database, truth)


def test_capabilities_given_by_a_service_manager_are_enough(keep, database):
    """Never root: as a unit with User= and AmbientCapabilities= starts it."""
    registry = filled(keep)
    agent = keep(Agent(database.conninfo(), target=registry.binary, wait_ready=False))
    start_as_service(agent)
    for task in tasks(agent.pid):
        found = status(task)
        assert int(found["CapPrm"], 16) == int(found["CapAmb"], 16) == 0
        assert found["Seccomp"] == "2" and found["NoNewPrivs"] == "1"
    found = status(f"/proc/{helper(agent)}")
    assert int(found["CapPrm"], 16) == int(found["CapEff"], 16) == expected_helper(agent)
    truth = pull(registry, Truth(registry.names()))
    agent.stop()
    books.check(database, truth)


def test_a_missing_capability_is_named(keep, database):
    registry = filled(keep)
    agent = keep(Agent(database.conninfo(), target=registry.binary, wait_ready=False))
    start_as_service(agent, ("bpf", "perfmon"))
    assert "CAP_SYS_PTRACE is missing" in agent.log()
    agent.stop()


def test_a_read_only_root_needs_two_writable_places(keep, database):
    registry = filled(keep)
    agent = keep(Agent(database.conninfo(), target=registry.binary, wait_ready=False))
    script = f"""
set -eu
mount --make-rprivate /
mount --bind {agent.state} {agent.state}
mount -o remount,bind,ro / 2>/dev/null || {{ mount --bind / /; mount -o remount,bind,ro /; }}
for place in /tmp /run /var /dev/shm; do
	if mountpoint -q $place; then mount -o remount,bind,ro $place; fi
done
if touch /read-only-or-not /tmp/read-only-or-not 2>/dev/null; then exit 3; fi
touch {agent.state}/writable; rm {agent.state}/writable
exec {BINARY} run {shlex.join(without_user(agent))} --user {USER}
"""
    agent.process = keep(Process(["unshare", "-m", "sh", "-c", script], stdout=agent.log_path,
                                 stderr=agent.log_path))
    agent.wait_log("ready", 60)
    truth = pull(registry, Truth(registry.names()))
    agent.stop()
    books.check(database, truth)


def test_an_agent_without_its_helper_ends_and_the_next_one_goes_on(keep, database):
    registry = filled(keep)
    truth = Truth(registry.names())
    agent = keep(Agent(database.conninfo(), target=registry.binary,
                       arguments=["--user", USER])).start()
    pull(registry, truth)
    os.kill(helper(agent), signal.SIGKILL)
    assert agent.process.wait(30) == 1
    assert "helper process has ended" in agent.log()
    pull(registry, truth)  # the probes stayed
    agent.start()
    agent.stop()
    books.check(database, truth)


def test_a_killed_agent_leaves_no_helper_and_no_lock(keep, database):
    agent = keep(Agent(database.conninfo(), arguments=["--user", USER])).start()
    pid = helper(agent)
    agent.kill()
    until(lambda: not os.path.exists(f"/proc/{pid}")
          or status(f"/proc/{pid}")["State"].startswith("Z"), 10, what="the helper ends")
    agent.start()
    agent.stop()


@pytest.mark.parametrize("user, says", [
    ("no-such-user", "there is no such user; make one with: useradd"),
    ("root", "is root or of root's group"),
    ("0", "is root or of root's group"),
    ("4294967296", "there is no such user"),
])
def test_a_user_that_is_of_no_use_is_refused(keep, user, says):
    agent = keep(Agent("host=/nonexistent", arguments=["--user", user], wait_ready=False))
    agent.start()
    assert agent.process.wait(30) == 1
    assert says in agent.log()
    assert agent.pinned() == []


def test_files_of_others_do_not_change_hands(keep):
    agent = keep(Agent("host=/nonexistent", arguments=["--user", USER], wait_ready=False))
    with open(f"{agent.state}/precious", "w") as file:
        file.write("not pulltap's")
    agent.start()
    assert agent.process.wait(30) == 1
    assert "holds files that are not pulltap's" in agent.log()
    assert os.stat(f"{agent.state}/precious").st_uid == 0
    assert os.stat(agent.state).st_uid == 0


def test_links_below_the_state_folder_are_not_followed(keep, folder):
    """What an intruder could leave there for the next start as root."""
    outside = folder.write("outside", "root's")
    agent = keep(Agent("host=/nonexistent", arguments=["--user", USER])).start()
    agent.pause()
    os.symlink(outside, f"{agent.state}/spool/link")
    os.link(outside, f"{agent.state}/spool/second-name")
    os.symlink(folder.path, f"{agent.state}/folder")
    agent.start()
    agent.pause()
    assert os.stat(outside).st_uid == 0
    assert os.stat(folder.path).st_uid == 0


def test_another_user_than_root_cannot_take_a_user(keep):
    agent = keep(Agent("host=/nonexistent", wait_ready=False))
    os.mkdir(agent.bpffs, 0o700)
    os.chown(agent.bpffs, UID, UID)
    done = run(["setpriv", "--reuid", str(UID), "--regid", str(UID), "--clear-groups", "--",
                BINARY, "run", "--bpffs", agent.bpffs, "--state-dir", agent.state,
                "--user", "daemon"], check=False)
    assert done.returncode == 1
    assert "only root can become another user" in done.stderr


def test_the_private_cluster_runs_as_that_user_without_a_filter(keep):
    registry = filled(keep)
    agent = keep(Agent(target=registry.binary, arguments=["--user", USER])).start()
    with open(f"{agent.state}/postgres/postmaster.pid") as file:
        server = int(file.readline())
    assert status(f"/proc/{server}")["Uid"].split() == [str(UID)] * 4
    assert int(status(f"/proc/{server}")["CapPrm"], 16) == 0
    assert status(f"/proc/{server}")["Seccomp"] == "0"
    assert "no filter of system calls" in agent.log()
    pull(registry, Truth(registry.names()))
    agent.pause()
    agent.start()
    rows = pulltap("ls", "--output", "json", "--state-dir", agent.state).stdout
    assert "team/app-0" in rows
    agent.stop()
