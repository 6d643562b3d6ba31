# SPDX-License-Identifier: MIT
"""What the tests with an agent share: one that watches, a client that says what it got, and the
totals that follow from that, by rules that are written here once more and share no code with the
program."""

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
from lib.proc import (  # noqa: E402,F401
    CI, Failed, Folder, clean_environment, find_program, run, until)
from lib.watch import TOOLS, Watch, bpftool, dump_map, private_copy  # noqa: E402,F401

HTTP1, HTTP2, H2C = "http1.1", "http2", "http2-prior-knowledge"


def missing(reason):
    """Skips here, fails where every part is required."""
    pytest.fail(reason) if CI else pytest.skip(reason)


def active_window(watch):
    control, = dump_map(watch.agent.bpffs + "/control")
    return f"{watch.agent.bpffs}/window_{control['value']['active']}"


class MemoryTool:
    """A private copy of a tool that lays a server's memory out and calls the agent's program; its
    last argument is how often."""

    def __init__(self, watch, name):
        self.watch = watch
        self.folder = Folder("pulltap-memory-")
        self.program = private_copy(TOOLS / name, self.folder)
        self.keys = {}

    def run(self, *arguments):
        """Returns the counters that rose, without `seen`, which must have risen by the last
        argument; keys: what the window's keys rose by."""
        before, keys = self._ledger(), self._counts()
        run([self.program, self.watch.agent.bpffs, "memory", *map(str, arguments)])
        after = self._ledger()
        assert after["seen"] == sum(count for name, count in after.items()
                                    if name != "seen" and not name.startswith("note_"))
        self.keys = {key: count - keys.get(key, 0) for key, count in self._counts().items()
                     if count != keys.get(key, 0)}
        rose = {name: after[name] - before[name] for name in after if after[name] != before[name]}
        assert rose.pop("seen", 0) == arguments[-1]
        return rose

    def _ledger(self):
        entry, = dump_map(active_window(self.watch) + "/ledger")
        values = [cpu["value"] for cpu in entry["values"]]
        return {name: sum(value[name] for value in values) for name in values[0]}

    def _counts(self):
        return {(e["key"]["repository"], e["key"]["tag"], e["key"]["digest"]):
                sum(cpu["value"]["count"] for cpu in e["values"])
                for e in dump_map(active_window(self.watch) + "/counts")}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.folder.close()


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
