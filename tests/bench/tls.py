# SPDX-License-Identifier: MIT
"""
What it costs a server with TLS to be watched: a blob of 100 MB again and again, and manifests as fast
as they go, with nothing, with each way in that the server knows, in alternated rounds. nginx answers
by itself; haproxy and apache have such an nginx behind them. CPU is that of the server's processes.

    /usr/bin/python3 tests/bench/tls.py [ROUNDS [SECONDS [SERVER ...]]]
"""
import json
import os
import re
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "e2e")]

from bench import (Counting, Off, alternate, number, percent, ratios, show,  # noqa: E402
                   spread)
from lib import apache, haproxy, nginx, proc  # noqa: E402
from lib.agent import Agent  # noqa: E402
from lib.frontends import wrk  # noqa: E402

DIGEST = "sha256:" + "ab" * 32
BLOB_MB, DOWNLOADS = 100, 5
MANIFESTS = [("GET", f"/v2/team/app-{tag}/manifests/latest", {}) for tag in range(200)]
ANSWERS = """
	access_log off;
	location ~ /manifests/ { add_header Docker-Content-Digest %s; return 200 "manifest"; }
	location /files/ { alias @folder@/files/; }
""" % DIGEST


class Watched(Counting):
    """The agent with one way in. No database: its windows wait in the spool."""

    def __init__(self, way, binary):
        super().__init__(Agent("host=/nonexistent", f"{way}:{binary}" if way == "openssl" else binary,
                               "bench", window=600))
        self.name = way


class Bench:
    def __init__(self, server, folder, seconds, pids):
        self.server, self.folder, self.seconds, self.pids = server, folder, seconds, pids

    def cpu(self):
        """To the nanosecond; clock ticks are too coarse for a blob's."""
        spent = 0
        for pid in self.pids():
            for thread in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{thread}/schedstat") as file:
                    spent += int(file.read().split()[0])
        return spent / 1e9

    def blobs(self):
        """One after the other, by curl."""
        before, started = self.cpu(), time.monotonic()
        for _ in range(DOWNLOADS):
            proc.run([proc.find_program("curl"), "-qskf", "--http1.1", "-o", "/dev/null",
                      self.server.url + "/files/blob"])
        took, size = time.monotonic() - started, BLOB_MB * DOWNLOADS
        return {"rate": size / took, "cpu": (self.cpu() - before) * 1e6 / size}

    def manifests(self):
        log = self.folder / "wrk.log"
        before = self.cpu()
        client = wrk(self.server, MANIFESTS, self.seconds, self.folder, connections=8)
        client.wait(self.seconds + 60)
        client.stop()
        with open(log) as file:
            said = file.read()
        os.unlink(log)
        requests = int(re.search(r"(\d+) requests in", said).group(1))
        return {"rate": requests / self.seconds, "cpu": (self.cpu() - before) * 1e6 / requests}


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


def plain():
    """An nginx without TLS that has everything at hand."""
    server = nginx.Nginx(1, workers=1, server=ANSWERS)
    files = os.path.join(server.work, "files")
    os.makedirs(files)
    with open(os.path.join(files, "blob"), "wb") as out:
        for _ in range(BLOB_MB):
            out.write(os.urandom(1 << 20))
    return server


def nginx_alone(behind):
    server = nginx.Nginx(1, tls=True, workers=1, server=ANSWERS)
    os.symlink(os.path.join(behind.work, "files"), os.path.join(server.work, "files"))
    return server, server.others


def haproxy_before(behind):
    server = haproxy.Haproxy(behind.port, threads=1)
    return server, lambda: [server.pid]


def apache_before(behind):
    server = apache.Apache(behind.port, tls=True)
    return server, lambda: children(server.pid)


SERVERS = {"nginx": (nginx_alone, ("openssl", "nginx")), "haproxy": (haproxy_before, ("openssl",)),
           "apache": (apache_before, ("openssl", "apache"))}


def table(title, unit, found):
    """What each way makes of the round's own `off`."""
    rows = [["", f"{unit}/s", "on / off", f"server's CPU, us/{unit}", "on / off"]]
    made = {}
    for side, measured in found.items():
        made[side] = {}
        row = [side]
        for what in ("rate", "cpu"):
            made[side][what] = spread([one[what] for one in measured])
            row.append(number(made[side][what]))
            if side == "off":
                row.append("")
                continue
            made[side][what + "_ratio"] = ratios(found, side, what)
            row.append(percent(made[side][what + "_ratio"]))
        rows.append(row)
    show(title, rows)
    return made


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    report = {"load_average_before": os.getloadavg()[0]}
    print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with proc.Folder("pulltap-bench-") as folder, plain() as behind:
        for name in sys.argv[3:] or SERVERS:
            make, ways = SERVERS[name]
            server, pids = make(behind)
            with server:
                bench = Bench(server, folder, seconds, pids)
                sides = [Off(), *(Watched(way, server.binary) for way in ways)]
                try:
                    report[f"{name}, blobs"] = table(
                        f"{name}, {BLOB_MB} MB over TLS, {rounds} rounds: median (least..most)", "MB",
                        alternate(sides, rounds, bench.blobs))
                    report[f"{name}, manifests"] = table(
                        f"{name}, manifests over TLS, {rounds} rounds of {seconds} s", "request",
                        alternate(sides, rounds, bench.manifests))
                finally:
                    for side in sides[1:]:
                        side.agent.close()
    path = os.path.join(proc.REPOSITORY_ROOT, "build", "bench-tls.json")
    with open(path, "w") as out:
        json.dump(report, out, indent=1, sort_keys=True)
    print("\nthe same as JSON: build/bench-tls.json")


if __name__ == "__main__":
    main()
