#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What a window costs the database, against one upsert per row.

    make tools && tests/bench/pg.py [ROUNDS]

A row is one changed total: a record by tag with a digest changes two, the tag's and the
manifest's. Both sides change the same totals of a database with 100,000 tags, keys by Zipf's law,
fsync on, and take turns; each figure is the median of the rounds. CPU is the session's own process,
read from /proc; WAL is the server's. The upserts are prepared statements executed by psql, which
parses each EXECUTE: a driver's own prepared statements take about two thirds of that CPU.
"""
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "pg"))
import conftest  # noqa: E402
from model import GET, MINUTE, NOON, digest, record, window  # noqa: E402

TAGS = 100_000
TICK = os.sysconf("SC_CLK_TCK")
# windows per measurement, so that the clock's 10 ms are small against it
REPEATS = {100: 100, 1000: 30, 10000: 6}
UPSERT = """
create table naive_{0} (registry text, repository text, name text, pulls bigint, last_pull
    timestamptz, primary key (registry, repository, name)) with (fillfactor = 85);
insert into naive_{0} select 'hub', 'team/app' || i % 1000, {1}, 0, now()
    from generate_series(0, {2} - 1) i;"""


def cpu(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


class Cost:
    """Seconds of wall clock and of the session's CPU, bytes of WAL."""

    def __init__(self, db, pid, rows):
        self.db, self.pid, self.rows = db, pid, rows

    def lsn(self):
        return int(self.db.psql("select pg_current_wal_lsn() - '0/0'").stdout)

    def __enter__(self):
        self.start = time.monotonic(), cpu(self.pid), self.lsn()
        return self

    def __exit__(self, *_):
        wall, used = time.monotonic() - self.start[0], cpu(self.pid) - self.start[1]
        wal = self.lsn() - self.start[2]
        self.per_row = wall / self.rows * 1e6, used / self.rows * 1e6, wal / self.rows


def keys(rng, n):
    """n different tags, popular ones more likely."""
    chosen = set()
    while len(chosen) < n:
        chosen.add(int(TAGS ** rng.random()) - 1)
    return list(chosen)


def make_window(numbers, at):
    return window(*[record(GET, f"v{i}", digest(i), at, 3, f"team/app{i % 1000}")
                    for i in numbers], start=at - MINUTE, end=at)


class Naive:
    """One session that executes prepared upserts, each a transaction of its own."""

    def __init__(self, db):
        self.session = db.background(
            "set application_name = 'naive';\n" + "".join(
                f"prepare up_{t} (text, text) as insert into naive_{t} as n values "
                "('hub', $1, $2, 3, now()) on conflict (registry, repository, name) do update "
                "set pulls = n.pulls + excluded.pulls, "
                "last_pull = greatest(n.last_pull, excluded.last_pull);\n"
                for t in ("tag", "manifest")))
        self.pid = db.value("select pid from pg_stat_activity where application_name = 'naive'")

    def run(self, numbers):
        for i in numbers:
            self.session.stdin.write(
                f"execute up_tag('team/app{i % 1000}', 'v{i}');\n"
                f"execute up_manifest('team/app{i % 1000}', '{digest(i)}');\n")
        self.session.stdin.write("select 'done';\n")
        self.session.stdin.flush()
        while self.session.stdout.readline().strip() != "done":
            pass


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    rng = random.Random(1)
    with tempfile.TemporaryDirectory(prefix="pulltap-bench-") as folder:
        cluster = conftest.Cluster(folder)
        with open(f"{cluster.data}/postgresql.conf", "a") as config:
            config.write("fsync = on\nmax_wal_size = 4GB\ncheckpoint_timeout = 30min\n")
        conftest.as_server([f"{conftest.BIN}/pg_ctl", "-w", "-s", "-D", cluster.data, "-l",
                            f"{cluster.data}/log", "restart"])
        try:
            measure(cluster, folder, rounds, rng)
        finally:
            cluster.stop()


def measure(cluster, folder, rounds, rng):
    db = cluster.create(name="bench")
    spool = tempfile.mkdtemp(prefix="pulltap-bench-spool-")
    tool = conftest.Tool(db.conninfo, spool, timeout_ms=60000)
    assert tool.ask("migrate")["err"] == 0
    at = NOON
    for start in range(0, TAGS, 20000):
        tool.apply(make_window(range(start, start + 20000), at))
    db.execute(UPSERT.format("tag", "'v' || i", TAGS))
    db.execute(UPSERT.format("manifest", "'sha256:' || lpad(to_hex(i), 64, '0')", TAGS))
    db.execute("vacuum analyze")
    db.execute("checkpoint")
    naive = Naive(db)
    pid = db.value("select pid from pg_stat_activity where application_name = 'pulltap'")
    print(f"{'keys':>6}  {'':8}{'wall us/row':>12}{'CPU us/row':>12}{'WAL B/row':>11}")
    for n, repeats in REPEATS.items():
        results = {"window": [], "upsert": []}
        for _ in range(rounds):
            for _ in range(repeats):
                at += MINUTE // 60
                tool.write(make_window(keys(rng, n), at))
            with Cost(db, pid, 2 * n * repeats) as cost:
                for _ in range(repeats):
                    tool.apply()
            results["window"].append(cost.per_row)
            count = max(1, repeats // 3)
            with Cost(db, naive.pid, 2 * n * count) as cost:
                for _ in range(count):
                    naive.run(keys(rng, n))
            results["upsert"].append(cost.per_row)
        medians = {name: [statistics.median(column) for column in zip(*rows)]
                   for name, rows in results.items()}
        for name, values in medians.items():
            print(f"{n:>6}  {name:8}" + "".join(f"{v:>{w}.1f}" for v, w in
                                                zip(values, (12, 12, 11))))
        print(f"{n:>6}  {'ratio':8}" + "".join(
            f"{b / a if a else 0:>{w - 1}.1f}x" for a, b, w in
            zip(medians["window"], medians["upsert"], (12, 12, 11))))
    naive.session.stdin.close()
    tool.close()
    subprocess.run(["rm", "-rf", spool], check=True)


if __name__ == "__main__":
    main()
