# SPDX-License-Identifier: MIT
"""
What attribution adds to one hit: build/tools/go_memory replays one reply, HINT seconds 60 against 0
(nothing is remembered of any client), in alternated rounds. CPU of the calling process per call.

    make tools && /usr/bin/python3 tests/bench/attribution.py [ROUNDS]
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
HITS = 200_000
# the same client each time: a HEAD renews its hint, a GET by digest finds the index before it
REPLIES = {"none": "GET by tag", "head": "HEAD by tag", "index": "GET by tag of an index",
           "child": "GET by digest behind an index"}


class Agent:
    def __init__(self, hint, arguments=()):
        self.state = tempfile.mkdtemp(prefix="pulltap-bench-")
        self.pins = "/sys/fs/bpf/" + os.path.basename(self.state)
        self.program = shutil.copy(os.path.join(BUILD, "tools", "go_memory"), self.state)
        self.process = subprocess.Popen(
            [os.path.join(BUILD, "pulltap"), "run", "--no-discover", "--bpffs", self.pins,
             "--state-dir", os.path.join(self.state, "state"), "--database", "host=/nonexistent",
             "--window", "600", "--hint-time", str(hint), *arguments], stderr=subprocess.PIPE, text=True)
        if not any('msg="ready"' in line for line in self.process.stderr):
            sys.exit("the agent did not start")

    def cost(self, kind, reply):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([self.program, self.pins, "memory", "http1", kind, "1", "0", reply,
                        str(HITS)], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / HITS * 1e9

    def stop(self):
        self.process.send_signal(2)
        self.process.communicate()
        shutil.rmtree(self.state)


def text(values):
    return f"{statistics.median(values):6.0f} ({min(values):.0f}..{max(values):.0f})"


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    agents = {"off": Agent(0), "on": Agent(60)}
    spent = {reply: {name: [] for name in agents} for reply in REPLIES}
    try:
        for _ in range(rounds):
            for reply, values in spent.items():
                for name, agent in agents.items():
                    values[name].append(agent.cost("buckets", reply))
    finally:
        for agent in agents.values():
            agent.stop()
    print("CPU of one call, ns: median (least..most)")
    for reply, values in spent.items():
        added = [on - off for on, off in zip(values["on"], values["off"])]
        print(f"  {REPLIES[reply]:<30} off {text(values['off'])}  on {text(values['on'])}  "
              f"added {text(added)}")


if __name__ == "__main__":
    main()
