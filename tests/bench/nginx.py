# SPDX-License-Identifier: MIT
"""
What the probe in nginx costs: CPU of the worker for each request, with nothing, with an empty
program on the same instruction, with pulltap, and with nginx's own access log in its place;
alternated rounds of saturated load on one worker that answers by itself (`return 200`), where every
microsecond shows. Then a large blob over TLS.

    /usr/bin/python3 tests/bench/nginx.py [ROUNDS [SECONDS]]
"""
import json
import os
import re
import statistics
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "e2e")]

from bench import Counting, Empty, Off, alternate, number, show, spread, task_seconds  # noqa: E402
from lib import proc  # noqa: E402
from lib.agent import Agent  # noqa: E402
from lib.nginx import Nginx  # noqa: E402

DIGEST = "sha256:" + "ab" * 32
TAGS, BLOB_MB, DOWNLOADS = 200, 100, 4
SERVER = """
	access_log off;
	location /v2/ { add_header Docker-Content-Digest %s; return 200 "manifest"; }
	location /log/v2/ { access_log @folder@/second.log; add_header Docker-Content-Digest %s;
		return 200 "manifest"; }
	location /files/ { alias @folder@/files/; }
""" % (DIGEST, DIGEST)
SCRIPT = """
local paths = { %s }
local at = 0
request = function()
	at = at + 1
	return wrk.format("GET", paths[at %% #paths + 1])
end
"""


class Logging(Off):
    """No probe, but nginx's access log in its usual form, buffered by nobody."""
    name = "access_log"


class Bench:
    def __init__(self, nginx, folder, seconds):
        self.nginx, self.folder, self.seconds = nginx, folder, seconds
        self.what = None
        self.worker, = nginx.others()
        self.scripts = {
            "manifest by tag": self.script("tag", "/v2/team/app-%d/manifests/latest"),
            "blob": self.script("blob", f"/v2/team/app-%d/blobs/{DIGEST}"),
            "logged": self.script("log", "/log/v2/team/app-%d/manifests/latest"),
        }

    def script(self, name, path):
        table = ", ".join(json.dumps(path % tag) for tag in range(TAGS))
        return self.folder.write(name + ".lua", SCRIPT % table)

    def measure(self):
        before = task_seconds(self.worker)
        done = proc.run([proc.find_program("wrk"), "-t", "1", "-c", "8", "-d",
                         f"{self.seconds}s", "-s", self.scripts[self.what], self.nginx.url],
                        timeout=self.seconds + 60)
        requests = int(re.search(r"(\d+) requests in", done.stdout).group(1))
        used = task_seconds(self.worker) - before
        return {"cpu_us": used * 1e6 / requests,
                "per_second": float(re.search(r"Requests/sec:\s*([0-9.]+)", done.stdout).group(1))}

    def download(self):
        """Megabytes a second of a large file, one after the other."""
        started = time.monotonic()
        for _ in range(DOWNLOADS):
            proc.run([proc.find_program("curl"), "-qsk", "-o", "/dev/null",
                      self.nginx.url + "/files/blob"])
        return {"mb_per_second": BLOB_MB * DOWNLOADS / (time.monotonic() - started)}


class Asking:
    """A side of alternate() that says what is asked for while it is in force."""

    def __init__(self, bench, side, what):
        self.bench, self.side, self.what, self.name = bench, side, what, side.name

    def __enter__(self):
        self.bench.what = self.what
        return self.side.__enter__()

    def __exit__(self, *details):
        return self.side.__exit__(*details)


def compare(bench, agent, what, rounds, logging):
    """One side of each kind per round; the access log's side asks for the location that logs."""
    sides = [Asking(bench, side, what)
             for side in (Off(), Empty(bench.nginx.binary), Counting(agent))]
    if logging:
        sides.append(Asking(bench, Logging(), "logged"))
    return alternate(sides, rounds, bench.measure)


def table(title, found):
    """Absolute figures, and what each side adds to the round's own `off`."""
    rows = [["", "CPU us/request", "added us", "requests/s"]]
    made = {}
    for side, measured in found.items():
        added = [one["cpu_us"] - off["cpu_us"] for one, off in zip(measured, found["off"])]
        made[side] = {"cpu_us": spread([one["cpu_us"] for one in measured]),
                      "added_us": spread(added),
                      "per_second": spread([one["per_second"] for one in measured])}
        rows.append([side, number2(made[side]["cpu_us"]),
                     number2(made[side]["added_us"]) if side != "off" else "",
                     number(made[side]["per_second"])])
    if "empty" in found:
        above = [on["cpu_us"] - empty["cpu_us"] for on, empty in zip(found["on"], found["empty"])]
        made["above_empty_us"] = spread(above)
        rows.append(["on, above empty", "", number2(made["above_empty_us"]), ""])
    show(title, rows)
    return made


def number2(value):
    return f"{value['median']:.2f} ({value['least']:.2f}..{value['most']:.2f})"


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    report = {}
    for tls in (False, True):
        with proc.Folder("pulltap-bench-") as folder, \
                Nginx(1, tls=tls, workers=1, server=SERVER) as nginx:
            blob = os.path.join(nginx.work, "files")
            os.makedirs(blob)
            with open(os.path.join(blob, "blob"), "wb") as out:
                for _ in range(BLOB_MB):
                    out.write(os.urandom(1 << 20))
            # no database: windows wait in the spool
            agent = Agent("host=/nonexistent", nginx.binary, "bench", window=600)
            bench = Bench(nginx, folder, seconds)
            name = "TLS" if tls else "plain"
            for what in ("manifest by tag", "blob"):
                report[f"{name}, {what}"] = table(
                    f"nginx, {name}, HTTP/1.1, {what}, {rounds} rounds of {seconds} s: "
                    "median (least..most)",
                    compare(bench, agent, what, rounds, what == "manifest by tag"))
            if tls:
                found = alternate([Off(), Counting(agent)], rounds, bench.download)
                speed = {side: spread([one["mb_per_second"] for one in measured])
                         for side, measured in found.items()}
                ratio = statistics.median(on["mb_per_second"] / off["mb_per_second"]
                                          for on, off in zip(found["on"], found["off"]))
                show(f"{BLOB_MB} MB over TLS, MB/s", [
                    *([side, number(value)] for side, value in speed.items()),
                    ["on / off", f"{(ratio - 1) * 100:+.1f} %"]])
                report["blob over TLS"] = speed
            agent.close()
    path = os.path.join(proc.REPOSITORY_ROOT, "build", "bench-nginx.json")
    with open(path, "w") as out:
        json.dump(report, out, indent=1, sort_keys=True)
    print("\nthe same as JSON: build/bench-nginx.json")


if __name__ == "__main__":
    main()
