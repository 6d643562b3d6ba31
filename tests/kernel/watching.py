# SPDX-License-Identifier: MIT
"""What the tests with an agent share: one that watches, a client that says what it got, and the
totals that follow from that, by rules that are written here once more and share no code with the
program."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
from collections import defaultdict, namedtuple
from urllib.parse import unquote

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "e2e"), str(HERE / "servers")]

import go_servers  # noqa: E402
from lib.agent import Agent, migrate  # noqa: E402
from lib.postgres import Postgres  # noqa: E402
from lib.proc import CI, Failed, Folder, clean_environment, find_program, run, until  # noqa: E402

TOOLS = go_servers.BUILD / "tools"
HTTP1, HTTP2, H2C = "http1.1", "http2", "http2-prior-knowledge"


def missing(reason):
    """Skips here, fails where every part is required."""
    pytest.fail(reason) if CI else pytest.skip(reason)


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
            self.agent.close()
            self.postgres.close()


class Ask(namedtuple("Ask", "method path options")):
    """One request. options: further lines of a curl config."""

    def __new__(cls, method, path, *options):
        return super().__new__(cls, method, path, options)


Got = namedtuple("Got", "method uri status version digest")


def curl(running, asks, protocol=HTTP1, parallel=1, timeout=300):
    """Sends requests and returns what each was answered (status 0: nothing), in their order
    unless parallel."""
    if protocol == H2C and len(asks) > 1:  # curl 7.88 fails on a second request of one connection
        return [curl(running, [ask], protocol)[0] for ask in asks]
    lines = []
    for number, ask in enumerate(asks):
        if number:
            lines.append("next")
        lines += [
            f'url = "{running.url}{ask.path}"', 'output = "/dev/null"', "silent", "insecure",
            "path-as-is", "globoff", protocol, "max-time = 60",
            'write-out = "%{method} %{http_code} %{http_version} %{url} '
            '%header{docker-content-digest}\\n"',
            "head" if ask.method == "HEAD" else f"request = {ask.method}", *ask.options]
    arguments = ["--parallel", "--parallel-max", str(parallel)] if parallel > 1 else []
    with Folder("pulltap-curl-") as folder:
        done = run([find_program("curl"), "-q", *arguments,
                    "-K", folder.write("config", "\n".join(lines) + "\n")],
                   check=False, timeout=timeout, env=clean_environment())
    got = []
    for line in done.stdout.splitlines():
        method, status, version, url, *digest = line.split()
        got.append(Got(method, url[len(running.url):], int(status), version, "".join(digest)))
    if len(got) != len(asks):
        raise Failed(f"curl tells of {len(got)} of {len(asks)} requests: {done.stderr[-2000:]}")
    return got


class Totals:
    """Pulls and checks by what was answered, without hints."""

    def __init__(self):
        self.tags = defaultdict(lambda: [0, 0])
        self.manifests = defaultdict(lambda: [0, 0])

    def add(self, got):
        for one in got:
            kind = {("GET", 200): 0, ("HEAD", 200): 1, ("GET", 304): 1, ("HEAD", 304): 1}.get(
                (one.method, one.status))
            path = unquote(one.uri.split("?")[0], errors="surrogateescape")
            name, middle, reference = path[path.find("/v2/") + 4:].rpartition("/manifests/")
            if kind is None or "/v2/" not in path or not name or not reference \
                    or "/" in reference:
                continue
            digest = reference if ":" in reference else one.digest
            if ":" not in reference:
                self.tags[name, reference][kind] += 1
            if digest:
                self.manifests[name, digest][kind] += 1
        return self

    def frozen(self):
        return ({name: tuple(total) for name, total in self.tags.items()},
                {name: tuple(total) for name, total in self.manifests.items()})


def logged(entries):
    """The access log of our own server as what it answered; replies that were never finished are
    no replies."""
    return [Got(entry["method"], entry["uri"], entry["status"] or 200, "", entry["digest"])
            for entry in entries if entry["outcome"] == "finished"]


def private_copy(path, folder):
    """The same program as a file of its own: a probe sees every process that runs the file."""
    to = pathlib.Path(folder.path) / path.name
    shutil.copy2(path, to)
    return to


def write_below(running, path):
    """A file for servers that serve a folder."""
    file = running.folder / "root" / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("{}")
    past = time.time() - 3600
    os.utime(file, (past, past))


def build_headers_server():
    """The server of servers/headers, or None where there is no Go."""
    to = go_servers.CACHE / "headers" / "headers"
    source = HERE / "servers" / "headers" / "main.go"
    if to.exists() and to.stat().st_mtime > source.stat().st_mtime:
        return to
    if not shutil.which("go"):
        return None
    subprocess.run(["go", "build", "-trimpath", "-o", to, "."], cwd=source.parent, check=True,
                   env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod",
                        "GOTOOLCHAIN": "local"})
    return to
