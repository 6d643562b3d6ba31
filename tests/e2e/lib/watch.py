# SPDX-License-Identifier: MIT
"""An agent with a database of its own, and what both and the kernel's maps say about its hits."""
import json
import os
import pathlib
import shutil
from collections import defaultdict

from .agent import Agent, migrate
from .postgres import Postgres
from .proc import REPOSITORY_ROOT, find_program, run, until

TOOLS = pathlib.Path(os.environ.get("PULLTAP_BUILD", REPOSITORY_ROOT + "/build")) / "tools"


def bpftool(*arguments, check=True):
    return run([find_program("bpftool"), *arguments], check=check)


def dump_map(path):
    """The entries of a pinned map as {"key": ..., "value" or "values": ...}, by their BTF."""
    return [entry["formatted"]
            for entry in json.loads(bpftool("-j", "map", "dump", "pinned", path).stdout)]


class Watch:
    """An agent of windows of one second and its own database, ready."""

    def __init__(self, targets=(), **options):
        self.postgres = Postgres().start()
        migrate(self.postgres)
        arguments = [word for name, what in targets for word in ("--target", f"{name}={what}")]
        arguments += options.pop("arguments", [])
        self.agent = Agent(self.postgres.conninfo(), arguments=arguments, **options).start()

    def hits(self, registry=None):
        """Probe hits ever, from the sites that are probed (those of one registry, or all)."""
        return sum(site["hits"] for site in self.sites(registry))

    def sites(self, registry=None):
        names = {entry["key"]: entry["value"]["name"]
                 for entry in dump_map(self.agent.bpffs + "/registries")}
        return [entry["value"] for entry in dump_map(self.agent.bpffs + "/sites")
                if entry["value"]["hook"]
                and registry in (None, names.get(entry["value"]["registry"]))]

    def wait_attached(self, registry, timeout=20):
        """A file is probed once, for all processes that run it."""
        until(lambda: any(event["registry"] == registry
                          for event in self.agent.events("target attached")),
              timeout, what=lambda: f"{registry} is probed\n{self.agent.log()[-2000:]}")

    def wait_hits(self, expected, registry=None, timeout=10):
        """Waits for so many hits of finished replies; one too many is a failure, too."""
        until(lambda: self.hits(registry) >= expected, timeout, 0.1,
              what=lambda: f"{expected} hits, there are {self.hits(registry)}")

    def settled(self, timeout=60):
        """Waits until every hit is in the database. Returns the sum of every counter."""
        until(lambda: self.counters()["seen"] == self.hits(), timeout, 0.2,
              what=lambda: f"{self.hits()} hits in the database: {self.counters()}\n"
                           f"{self.agent.log()[-2000:]}")
        return self.counters()

    def counters(self):
        rows = self.postgres.rows(
            "select c.key, sum(c.value::bigint) as sum from pulltap.windows w "
            "cross join lateral jsonb_each_text(w.counters) c group by 1")
        found = defaultdict(int, {row["key"]: row["sum"] for row in rows})
        found["seen"] = self.postgres.value("select coalesce(sum(seen), 0) from pulltap.windows")
        found["counted"] = self.postgres.value(
            "select coalesce(sum(counted), 0) from pulltap.windows")
        return found

    def check_books(self):
        """Every window balances, nothing is lost or refused, nobody restarted from zero."""
        assert self.postgres.rows("select * from pulltap.windows where not balanced") == []
        assert self.postgres.rows("select reason, count from pulltap.losses") == []
        assert self.postgres.rows("select * from pulltap.rejects") == []
        assert [site["symbol"] for site in self.sites() if site["layout_failures"]] == []

    def totals(self, registry):
        """What the database says: {(repository, tag or digest): (pulls, checks)}, without zeros."""
        tags = {(row["repository"], row["tag"]): (row["pulls"], row["checks"])
                for row in self.postgres.tags(registry) if row["pulls"] or row["checks"]}
        manifests = {(row["repository"], row["digest"]): (row["pulls"], row["checks"])
                     for row in self.postgres.manifests(registry) if row["pulls"] or row["checks"]}
        return tags, manifests

    def close(self):
        try:
            self.agent.stop()
        finally:
            self.abandon()

    def abandon(self):
        """However the agent is: nothing of it stays."""
        self.agent.close()
        self.postgres.close()


def private_copy(path, folder):
    """The same program as a file of its own: a probe sees every process that runs the file."""
    to = pathlib.Path(folder.path) / path.name
    shutil.copy2(path, to)
    return to
