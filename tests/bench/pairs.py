#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What pairing HEADs and GETs of different nodes costs the database.

    make tools && tests/bench/pairs.py [ROUNDS]

Two agents behind a balancer: windows of 1,000 HEADs by tag on one, of the 1,000 GETs by digest that
follow on the other, keys as in pg.py. The same windows with pairing off (as where one agent reports
alone), in turns; then the calls that pair a slice of ten such windows. Server CPU of the sessions.
"""
import random
import statistics
import sys
import tempfile

from pg import Cost, conftest, keys
from model import GET, HEAD, MINUTE, digest, record, window

ROWS, WINDOWS = 1000, 10
OFF = "'00000000-0000-0000-0000-000000000000'"


def make(numbers, at, head):
    return window(*[record(HEAD, f"v{i}", digest(i), at, 3, f"team/app{i % 1000}") if head
                    else record(GET, "", digest(i), at, 3, f"team/app{i % 1000}")
                    for i in numbers], start=at - MINUTE // 6, end=at)


class Fleet:
    """Two agents with one database; alone: neither knows of the other, so nothing is paired."""

    def __init__(self, cluster, folder, name, alone):
        self.db = cluster.create(name=name)
        self.tools = []
        for node in range(2):
            tool = conftest.Tool(self.db.conninfo, f"{folder}/{name}{node}", node=f"node-{node}",
                                 timeout_ms=60000)
            assert tool.ask("migrate")["err"] == 0
            self.tools.append(tool)
        if alone:
            self.db.execute("create or replace function pulltap.apply_pairs(p_agent uuid) returns "
                            "boolean language sql as 'select false'")
        now = self.db.value("select (extract(epoch from now()) * 1000000)::bigint")
        self.at = (now - 50 * MINUTE) // (5 * MINUTE) * 5 * MINUTE
        for tool in self.tools:  # agents know each other from a connection's start on
            tool.apply(make(range(100_000), self.at, True))
        for node, tool in enumerate(self.tools):
            tool.close()
            self.tools[node] = conftest.Tool(self.db.conninfo, f"{folder}/{name}{node}",
                                             node=f"node-{node}", timeout_ms=60000)
            self.tools[node].apply(make([0], self.at, True))
        self.pids = [row["pid"] for row in self.db.rows(
            "select pid from pg_stat_activity where application_name = 'pulltap' "
            f"and datname = '{name}' order by backend_start")]
        self.db.execute("vacuum analyze")

    def run(self, numbers):
        """CPU per row: a HEAD raises a tag's total and a manifest's, a GET by digest the latter."""
        self.at += MINUTE // 6
        spent = []
        for node, pid in enumerate(self.pids):
            for _ in range(WINDOWS):
                self.tools[node].write(make(numbers, self.at, node == 0))
            with Cost(self.db, pid, ROWS * WINDOWS * (2 - node)) as cost:
                for _ in range(WINDOWS):
                    self.tools[node].apply()
            spent.append(cost.per_row)
        return spent


def settle(db, rows):
    session = db.background("set application_name = 'settle'")
    pid = db.value("select pid from pg_stat_activity where application_name = 'settle'")
    with Cost(db, pid, rows) as cost:
        for _ in range(4):
            session.stdin.write(f"select pulltap.apply_pairs({OFF}) as done;\n")
            session.stdin.flush()
            session.stdout.readline()
    session.stdin.close()
    session.wait()
    return cost.per_row


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    rng = random.Random(1)
    with tempfile.TemporaryDirectory(prefix="pulltap-bench-") as folder, \
            tempfile.TemporaryDirectory(prefix="pulltap-bench-spool-") as spools:
        cluster = conftest.Cluster(folder)
        try:
            fleets = {"paired": Fleet(cluster, spools, "paired", False),
                      "alone": Fleet(cluster, spools, "alone", True)}
            spent = {name: [] for name in fleets}
            pairing = []
            for _ in range(rounds):
                numbers = keys(rng, ROWS)
                for name, fleet in fleets.items():
                    spent[name].append(fleet.run(numbers))
                db = fleets["paired"].db
                waiting = db.value("select count(*) from pulltap.unpaired")
                assert waiting >= 2 * ROWS * WINDOWS, waiting
                db.execute("update pulltap.window_account set end_at = now()")
                pairing.append(settle(db, waiting))
                assert db.value("select count(*) from pulltap.unpaired") == 0
            for name, values in spent.items():
                for node, what in enumerate(("HEADs by tag", "GETs by digest")):
                    print(f"{what:<15} {name:<7}" + "".join(
                        f"{statistics.median(value[node][i] for value in values):10.1f}"
                        for i in range(3)))
            print(f"{'apply_pairs':<23}" + "".join(
                f"{statistics.median(value[i] for value in pairing):10.1f}" for i in range(3)))
            print("columns: wall us, server CPU us, WAL bytes, each per row")
            for fleet in fleets.values():
                for tool in fleet.tools:
                    tool.close()
        finally:
            cluster.stop()


if __name__ == "__main__":
    main()
