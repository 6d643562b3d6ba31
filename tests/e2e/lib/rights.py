# SPDX-License-Identifier: MIT
"""What /proc says about a process's rights, and starting an agent as a service manager would."""
import os

from .agent import BINARY, SANDBOX_USER
from .proc import Process, clean_environment

# linux/capability.h
CAPS = {"dac_read_search": 2, "sys_ptrace": 19, "sys_admin": 21, "perfmon": 38, "bpf": 39}
USER = SANDBOX_USER
UID = 65534


def bits(names):
    return sum(1 << CAPS[name] for name in names)


def status(path):
    with open(f"{path}/status") as lines:
        return dict(line.rstrip("\n").split(":\t", 1) for line in lines if ":\t" in line)


def tasks(pid):
    return [f"/proc/{pid}/task/{task}" for task in os.listdir(f"/proc/{pid}/task")]


def children(pid):
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and int(status(f"/proc/{entry}")["PPid"]) == pid:
                found.append(int(entry))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def without_user(agent):
    """The arguments of an agent that is told no user, in the sandboxed run of the tests too."""
    return [a for a in agent.arguments if a not in ("--user", USER)]


def start_as_service(agent, capabilities=tuple(CAPS), before=(), **environment):
    """Never root: as a unit with User= and AmbientCapabilities= starts it. before: a prefix."""
    os.makedirs(agent.bpffs, 0o700, exist_ok=True)
    for path in (agent.bpffs, agent.state, agent.folder.path):
        os.chown(path, UID, UID)
    given = "-all," + ",".join("+" + name for name in capabilities)
    agent.forget_log()
    agent.process = Process(
        ["setpriv", "--reuid", str(UID), "--regid", str(UID), "--clear-groups", "--inh-caps",
         given, "--ambient-caps", given, "--bounding-set", given, "--", *before, BINARY, "run",
         *without_user(agent)], stdout=agent.log_path, stderr=agent.log_path,
        env=clean_environment(**environment))
    agent.wait_log("ready", 60)
    return agent
