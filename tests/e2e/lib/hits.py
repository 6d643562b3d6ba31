# SPDX-License-Identifier: MIT
"""Replies by the million from build/tools/load, and whether the database holds what it says that it
did, key by key."""
import json

from .proc import Failed, Process, until
from .watch import TOOLS, private_copy


class Load:
    """build/tools/load as a file of its own, so that nobody else's probes see it."""

    def __init__(self, folder, watch):
        if not (TOOLS / "load").exists():
            raise Failed(f"{TOOLS}/load is not built: make tools")
        self.watch, self.folder = watch, folder
        self.program = private_copy(TOOLS / "load", folder)
        self.runs = 0

    def start(self, threads, hits, keys, rate=0):
        self.runs += 1
        self.truth_path = self.folder / f"truth-{self.runs}"
        self.process = Process(
            [self.program, self.watch.agent.bpffs, "load", *map(str, (threads, hits, keys, rate))],
            stdout=self.truth_path, stderr=self.folder / "errors")
        return self

    def running(self):
        return self.process.running()

    def wait(self, timeout=300):
        """Every run's truth added up: {(repository, tag, digest): count}."""
        assert self.process.wait(timeout) == 0, open(self.folder / "errors").read()
        self.process.close()
        truth = {}
        for number in range(1, self.runs + 1):
            with open(self.folder / f"truth-{number}") as file:
                for line in file:
                    *key, count = line.split()
                    truth[tuple(key)] = truth.get(tuple(key), 0) + int(count)
        return truth


def status_file(watch):
    with open(watch.agent.state + "/status.json") as file:
        return json.load(file)


def wait_shipped(watch, seen, timeout=600):
    """Until every hit was drained and no window waits in the spool."""
    def shipped():
        if not watch.agent.process.running():
            raise AssertionError(f"the agent ended: {watch.agent.log()[-3000:]}")
        return status_file(watch)["shipping"]["waiting"] == 0 and \
            watch.counters()["seen"] >= seen

    until(shipped, timeout, 0.5, what=lambda: f"{seen} hits in the database: "
          f"{status_file(watch)}\n{watch.agent.log()[-2000:]}")


def stored_tags(watch):
    return {(row["repository"], row["tag"], row["digest"]): row["pulls"]
            for row in watch.postgres.tags("load")}


def stored_manifests(watch):
    return {(row["repository"], row["digest"]): row["pulls"]
            for row in watch.postgres.rows(
                "select p.name as repository, pulltap.digest_text(m.algorithm, m.digest) as digest,"
                " t.pulls from pulltap.manifest m join pulltap.manifest_total t using (manifest_id)"
                " join pulltap.repository p on p.repository_id = m.repository_id")}


def check_every_key(watch, truth):
    stored = stored_tags(watch)
    wrong = [(key, count, stored.get(key)) for key, count in truth.items()
             if stored.get(key) != count]
    assert not wrong, f"{len(wrong)} of {len(truth)} keys differ: {wrong[:5]}"
    assert len(stored) == len(truth)
    assert stored_manifests(watch) == {(repository, digest): count
                                       for (repository, _, digest), count in truth.items()}


def check_windows(watch):
    """Each window once, each in balance, none missing. Returns the sum of every counter."""
    assert watch.postgres.rows("select * from pulltap.windows where not balanced") == []
    assert watch.postgres.rows("select * from pulltap.rejects") == []
    row, = watch.postgres.rows("select count(*) as windows, count(distinct (agent, sequence)) as "
                               "different, count(distinct agent) as agents, min(sequence) as low, "
                               "max(sequence) as high from pulltap.windows")
    assert row["windows"] == row["different"]
    assert row["agents"] == 1
    assert status_file(watch)["shipping"]["rejected"] == 0
    return watch.counters()


def lost(counters):
    return sum(count for name, count in counters.items() if name.startswith("lost_"))


def filtered(counters):
    return sum(count for name, count in counters.items() if name.startswith("filtered_"))
