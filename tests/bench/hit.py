# SPDX-License-Identifier: MIT
"""
CPU of one hit, alone: build/tools/load calls the probed function with no probe, with an empty
program and with pulltap's, in alternated rounds; the time is the process's own (user + system), so
the agent's and the database's work is not in it.

    /usr/bin/python3 tests/bench/hit.py [ROUNDS]
"""
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("PULLTAP_BUILD", os.path.join(ROOT, "build"))
PINS = "/sys/fs/bpf/pulltap-bench-hit"
HITS, KEYS = 300_000, 500


def cpu_ns(program, mode):
    """CPU nanoseconds per call."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([program, mode, "load", "1", str(HITS), str(KEYS)],
                   stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / HITS * 1e9


def show(name, values):
    print(f"  {name:<24}{statistics.median(values):8.0f}  ({min(values):.0f}..{max(values):.0f})")


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    state = tempfile.mkdtemp(prefix="pulltap-bench-")
    # no database: windows wait in the spool, and the agent does next to nothing meanwhile
    agent = subprocess.Popen(
        [os.path.join(BUILD, "pulltap"), "run", "--no-discover", "--bpffs", PINS, "--state-dir",
         state, "--database", "host=/nonexistent", "--window", "600"],
        stderr=subprocess.PIPE, text=True)
    try:
        log = []
        for line in agent.stderr:
            log.append(line)
            if 'msg="ready"' in line:
                break
        else:
            sys.exit("the agent did not start:\n" + "".join(log))
        # pulltap's probe stays on the file it was put on: the other two run a copy
        probed, copy = os.path.join(BUILD, "tools", "load"), os.path.join(state, "load")
        shutil.copy(probed, copy)
        cpu_ns(probed, PINS)  # attaches, and makes the keys
        measured = {"none": [], "empty": [], PINS: []}
        for _ in range(rounds):
            for mode, values in measured.items():
                values.append(cpu_ns(probed if mode == PINS else copy, mode))
        none, empty, full = measured.values()
        print("CPU of one call, ns: median (least..most)")
        show("no probe", none)
        show("empty program", empty)
        show("pulltap, manifest by tag", full)
        added = [f - n for f, n in zip(full, none)]
        floor = [e - n for e, n in zip(empty, none)]
        show("added by empty", floor)
        show("added by pulltap", added)
        ratios = [a / f for a, f in zip(added, floor)]
        print(f"  pulltap / empty           {statistics.median(ratios):.2f}  "
              f"({min(ratios):.2f}..{max(ratios):.2f}), {rounds} rounds")
    finally:
        agent.send_signal(2)
        agent.communicate()
        shutil.rmtree(state)


if __name__ == "__main__":
    main()
