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
