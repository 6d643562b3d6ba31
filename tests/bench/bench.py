# SPDX-License-Identifier: MIT
"""
Measures on/off pairs, alternated, because machines drift: what is reported is the median of the
pairs' ratios and their spread. Two servers: the real docker-registry, where a probe drowns, and a
bare Go server that answers from memory, where it shows.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))

from lib import proc  # noqa: E402
from lib.agent import Agent, migrate  # noqa: E402
from lib.images import Image  # noqa: E402
from lib.permissive import Permissive, build_go  # noqa: E402
from lib.postgres import Postgres  # noqa: E402
from lib.registry import Registry  # noqa: E402

proc.end_on_signal()
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024
STATS = "/proc/sys/kernel/bpf_stats_enabled"
EMPTY_PROBE = os.path.join(proc.REPOSITORY_ROOT, "build", "tools", "empty_probe")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def task_seconds(pid):
    """The same of a process of one thread, to the nanosecond: that of nginx's workers."""
    with open(f"/proc/{pid}/schedstat") as stat:
        return int(stat.read().split()[0]) / 1e9


def with_cpu(pid, load, *arguments, **options):
    """What load measured, and the CPU that the server took for each request."""
    before = cpu_seconds(pid)
    made = load(*arguments, **options)
    made["cpu_us"] = (cpu_seconds(pid) - before) * 1e6 / made["requests"]
    return made


def rss_kb(pid):
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * PAGE_KB


class Load:
    def __init__(self, folder):
        self.binary = build_go(os.path.join(HERE, "load", "main.go"), folder / "load")
        self.folder = folder

    def run(self, port, paths, seconds, rate=0, connections=8):
        file = self.folder.write("paths", "\n".join(paths) + "\n")
        done = proc.run([self.binary, "-address", f"127.0.0.1:{port}", "-paths", file,
                         "-duration", f"{seconds}s", "-rate", str(rate),
                         "-connections", str(connections)], timeout=seconds + 60)
        return json.loads(done.stdout)


class Off:
    name = "off"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class Counting:
    """The agent itself, as it runs in a node: attached, draining, shipping."""
    name = "on"

    def __init__(self, agent):
        self.agent = agent

    def __enter__(self):
        self.agent.start()

    def __exit__(self, *_):
        self.agent.stop()


class Empty:
    """An empty program on the same instruction: what the kernel takes for a hit of anything."""
    name = "empty"

    def __init__(self, binary):
        self.binary = binary

    def __enter__(self):
        self.process = proc.Process([EMPTY_PROBE, self.binary])
        time.sleep(1)
        if not self.process.running():
            raise proc.Failed(f"{EMPTY_PROBE} ended with {self.process.returncode}")

    def __exit__(self, *_):
        self.process.stop()


def alternate(sides, pairs, measure):
    """Runs the sides in turn, first one first and then the other; {side: [measured, ...]}."""
    found = {side.name: [] for side in sides}
    for number in range(pairs):
        for side in sides if number % 2 == 0 else reversed(sides):
            with side:
                found[side.name].append(measure())
    return found


def spread(values):
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def ratios(found, side, what):
    return spread([on[what] / off[what] for on, off in zip(found[side], found["off"])])


def show(title, rows):
    print(f"\n{title}")
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  " + "  ".join(str(cell).ljust(width) if i == 0 else str(cell).rjust(width)
                               for i, (cell, width) in enumerate(zip(row, widths))))
    sys.stdout.flush()


def number(value):
    return f"{value['median']:,.1f} ({value['least']:,.1f}..{value['most']:,.1f})"


def percent(value):
    return (f"{(value['median'] - 1) * 100:+.1f} % ({(value['least'] - 1) * 100:+.1f}.."
            f"{(value['most'] - 1) * 100:+.1f})")


def pairs_table(title, found, kinds):
    sides = list(found)
    rows = [["", *sides, *(f"{side}/off" for side in sides if side != "off")]]
    for what, label in kinds:
        rows.append([label, *(number(spread([one[what] for one in found[side]]))
                              for side in sides),
                     *(percent(ratios(found, side, what)) for side in sides if side != "off")])
    show(title, rows)
    return {what: {**{side: spread([one[what] for one in found[side]]) for side in sides},
                   **{side + "_over_off": ratios(found, side, what)
                      for side in sides if side != "off"}} for what, _ in kinds}


def program_times(agent):
    """{program: (run time in ns, runs)} of everything the agent pinned."""
    found = {}
    for name in agent.pinned():
        done = proc.run(["bpftool", "-j", "prog", "show", "pinned",
                         os.path.join(agent.bpffs, name)], check=False)
        try:
            program = json.loads(done.stdout)
        except ValueError:
            continue
        program = program[0] if isinstance(program, list) and program else program
        if isinstance(program, dict) and "run_cnt" in program:
            found[program.get("name", name)] = (program.get("run_time_ns", 0),
                                                program["run_cnt"])
    return found


def ns_per_hit(agent, load, server, seconds, pulls):
    """Mean run time of each program, apart for what is asked."""
    asked = {
        "manifest by tag": pulls,
        "manifest by digest": [path.rsplit("/", 1)[0] + "/sha256:" +
                               "%064x" % i for i, path in enumerate(pulls)],
        "blob": [path.rsplit("/manifests/", 1)[0] + "/blobs/sha256:" + "%064x" % i
                 for i, path in enumerate(pulls)],
        "other (/v2/)": ["/v2/"],
    }
    rows = [["", "program", "hits", "ns/hit"]]
    made = {}
    with open(STATS) as file:
        before_setting = file.read()
    with open(STATS, "w") as file:
        file.write("1")
    try:
        with Counting(agent):
            for label, paths in asked.items():
                load.run(server.port, paths, 1)  # keys are made, caches are warm
                before = program_times(agent)
                load.run(server.port, paths, seconds)
                time.sleep(0.1)
                for name, (ran, hits) in program_times(agent).items():
                    ran -= before.get(name, (0, 0))[0]
                    hits -= before.get(name, (0, 0))[1]
                    if hits > 1000:  # exec_watch sees the machine's other doings too
                        rows.append([label, name, f"{hits:,}", f"{ran / hits:,.0f}"])
                        made.setdefault(label, {})[name] = ran / hits
    finally:
        with open(STATS, "w") as file:
            file.write(before_setting)
    show("Run time of a program (kernel.bpf_stats_enabled)", rows)
    return made


def steady(agent, database, load, server, rate, seconds, pulls):
    """The agent at a steady rate: CPU of the agent and of the database, memory, losses."""
    with Counting(agent):
        load.run(server.port, pulls, 2, rate=rate)
        before, started = cpu_seconds(agent.pid), time.monotonic()
        database_before = database_cpu(database)
        result = load.run(server.port, pulls, seconds, rate=rate)
        took = time.monotonic() - started
        used = cpu_seconds(agent.pid) - before
        database_used = database_cpu(database) - database_before
        memory = rss_kb(agent.pid)
    lost = database.value("select coalesce(sum(lost), 0) as lost from pulltap.windows")
    made = {"rate": result["per_second"], "agent_cpu_percent": 100 * used / took,
            "database_cpu_percent": 100 * database_used / took, "agent_rss_mb": memory / 1024,
            "lost": lost, "p50_us": result["p50_us"], "p99_us": result["p99_us"]}
    show(f"The agent at a steady rate, {len(set(pulls))} tags, window 10 s", [
        ["requests/s", f"{made['rate']:,.0f}"],
        ["agent CPU, % of a core", f"{made['agent_cpu_percent']:.2f}"],
        ["agent RSS, MB", f"{made['agent_rss_mb']:.1f}"],
        ["PostgreSQL CPU, % of a core", f"{made['database_cpu_percent']:.2f}"],
        ["pulls lost", lost],
    ])
    return made


def database_cpu(database):
    """CPU of the server and every child, also of those that ended."""
    with open(f"/proc/{database.process.pid}/stat") as stat:
        ended = sum(int(field) for field in stat.read().rsplit(")", 1)[1].split()[11:15])
    children = subprocess.run(["pgrep", "-P", str(database.process.pid)], capture_output=True,
                              text=True, check=False).stdout.split()
    return ended / TICKS + sum(cpu_seconds(pid) for pid in children)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--seconds", type=int, default=5, help="of one measurement")
    parser.add_argument("--rate", type=int, default=5000)
    options = parser.parse_args()
    started = time.monotonic()
    report = {"cores": os.cpu_count(), "kernel": os.uname().release}

    folder, load = proc.Folder("pulltap-bench-"), None
    load = Load(folder)
    database = Postgres().start()
    migrate(database)
    tags = [f"/v2/team-{i % 20}/app-{i % 100}/manifests/v{i}" for i in range(2000)]

    registry = Registry(environment={"REGISTRY_LOG_ACCESSLOG_DISABLED": "true",
                                     "REGISTRY_LOG_LEVEL": "error"}).start()
    for i in range(20):
        registry.push(Image(i), f"team/app-{i % 5}", f"v{i}")
    real = [f"/v2/team/app-{i % 5}/manifests/v{i}" for i in range(20)]
    agent = Agent(database.conninfo(), registry.binary, "real", window=10)
    found = alternate([Off(), Counting(agent)], options.pairs,
                      lambda: with_cpu(registry.pid, load.run, registry.port, real,
                                       options.seconds))
    report["docker_registry"] = pairs_table(
        f"docker-registry, manifests by tag, 8 connections, {options.pairs} pairs: "
        "median (least..most)", found,
        [("per_second", "requests/s"), ("p50_us", "p50 us"), ("p99_us", "p99 us"),
         ("cpu_us", "server CPU us/request")])
    agent.close()
    registry.close()

    server = Permissive(log=False).start()
    agent = Agent(database.conninfo(), server.binary, "fast", window=10)
    sides = [Off(), Counting(agent)]
    if os.access(EMPTY_PROBE, os.X_OK):
        sides.insert(1, Empty(server.binary))

    found = alternate(sides, options.pairs,
                      lambda: with_cpu(server.pid, load.run, server.port, tags,
                                       options.seconds, rate=options.rate))
    report["fast_server"] = pairs_table(
        f"bare Go server, manifests by tag, {options.rate} requests/s, {options.pairs} pairs: "
        "median (least..most)", found,
        [("cpu_us", "server CPU us/request"), ("p50_us", "p50 us"), ("p99_us", "p99 us")])
    report["added_cpu_us"] = {
        side.name: spread([on["cpu_us"] - off["cpu_us"]
                           for on, off in zip(found[side.name], found["off"])])
        for side in sides[1:]}
    for name, value in report["added_cpu_us"].items():
        print(f"  {name}: {number(value)} us of CPU more per request")

    report["ns_per_hit"] = ns_per_hit(agent, load, server, 3, tags)
    report["steady"] = steady(agent, database, load, server, options.rate, 32, tags)
    agent.close()
    server.close()
    database.close()

    report["seconds"] = time.monotonic() - started
    path = os.path.join(proc.REPOSITORY_ROOT, "build", "bench.json")
    with open(path, "w") as out:
        json.dump(report, out, indent=1, sort_keys=True)
    print(f"\n{report['seconds']:.0f} s; the same as JSON: build/bench.json")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
