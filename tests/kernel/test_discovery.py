# SPDX-License-Identifier: MIT
"""binary_inspect() on servers of every Go version, and that the servers do what tests expect of
them. The truth: what each was built with, the disassembler, and the servers' own access log."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "servers"))
import go_servers  # noqa: E402

INSPECT = go_servers.BUILD / "tools" / "inspect"
HTTP1, HTTP2 = 1, 2
REGISTER, STACK = 1, 2
BUCKETS, SWISS = 1, 2


@pytest.fixture(scope="session", autouse=True)
def fetched():
    return go_servers.fetch()


def missing(reason):
    """Skips here, fails where every part is required."""
    pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


def need(server):
    if server.missing():
        missing(server.missing())


def inspect(path):
    run = subprocess.run([INSPECT, path], capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def each(keep=lambda s: True):
    chosen = [s for s in go_servers.servers() if keep(s)]
    return pytest.mark.parametrize("server", chosen, ids=[s.name for s in chosen])


@each()
def test_every_version_has_usable_sites(server):
    need(server)
    found = inspect(server.path)
    assert found["result"] == 0
    assert found["refusal"] == ""
    assert {s["hook"] for s in found["sites"]} == server.hooks
    assert {s["go_abi"] for s in found["sites"]} == {REGISTER if server.register_abi else STACK}
    assert {s["go_map"] for s in found["sites"]} == {SWISS if server.swiss_map else BUCKETS}
    assert found["registry_kind"] == ""
    if found["version"]:
        minor = found["version"].split(".")[1]
        assert int("".join(c for c in minor if c.isdigit())) == server.go_minor


@each()
def test_every_site_is_a_branch_behind_a_compare(server):
    need(server)
    with open(server.path, "rb") as f:
        for site in inspect(server.path)["sites"]:
            f.seek(site["file_offset"] - 4)
            code = f.read(6)
            # cmp 16(r14), rsp|r12 or cmp 16(rcx), rsp|rax; then jbe, short or near
            compares = ((b"\x49\x3b\x66\x10", b"\x4d\x3b\x66\x10") if server.register_abi
                        else (b"\x48\x3b\x61\x10", b"\x48\x3b\x41\x10"))
            assert code[:4] in compares, site
            assert code[4] == 0x76 or code[4:6] == b"\x0f\x86", site


@each(lambda s: s.name in ("goserver-plain", "goserver-race", "goserver-cgo-pie"))
def test_sites_agree_with_the_disassembler(server):
    need(server)
    branches = set()
    for symbol in (r"^net/http.\(\*response\).finishRequest$",
                   r"^net/http.\(\*http2responseWriter\).handlerDone$"):
        text = subprocess.run(["go", "tool", "objdump", "-s", symbol, server.path],
                              capture_output=True, text=True, check=True).stdout
        line = next(line for line in text.splitlines() if "JBE" in line)
        branches.add(int(line.split()[1], 16))
    found = {address_of(server.path, s["file_offset"]) for s in inspect(server.path)["sites"]}
    assert found == branches


def address_of(path, offset):
    """The virtual address of a file offset, as readelf tells."""
    text = subprocess.run(["readelf", "-lW", path], capture_output=True, text=True,
                          check=True).stdout
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["LOAD"]:
            start, address, size = (int(words[i], 16) for i in (1, 2, 4))
            if start <= offset < start + size:
                return address + offset - start
    raise AssertionError(f"{offset:#x} is in no segment of {path}")


def test_docker_registry_is_recognised():
    path = "/usr/bin/docker-registry"
    if not os.path.exists(path):
        missing("no docker-registry installed")
    assert inspect(path)["registry_kind"] == "distribution"


def curl(running, path, *options):
    """Status, protocol version and headers of one request."""
    run = subprocess.run(
        ["curl", "-sk", "-o", running.folder / "body", "-D", "-", "-w",
         "\n%{http_code} %{http_version}", *options, running.url + path],
        capture_output=True, text=True)
    lines = run.stdout.strip().splitlines()
    status, version = lines[-1].split()
    headers = dict(line.split(": ", 1) for line in lines if ": " in line)
    return int(status), version, {k.lower(): v for k, v in headers.items()}


@each()
def test_every_server_answers(server):
    need(server)
    with server.start() as running:
        status, version, headers = curl(running, go_servers.MANIFEST_PATH)
        assert (status, version) == (200, "1.1")
        assert ("docker-content-digest" in headers) == server.digest_supported
        if server.h2c_supported:
            status, version, _ = curl(running, go_servers.MANIFEST_PATH,
                                      "--http2-prior-knowledge")
            assert (status, version) == (200, "2")


@each(lambda s: s.tls_supported)
def test_every_tls_server_speaks_http2(server):
    need(server)
    with server.start(tls=True) as running:
        status, version, headers = curl(running, go_servers.MANIFEST_PATH, "--http2")
        assert (status, version) == (200, "2")
        assert ("docker-content-digest" in headers) == server.digest_supported
        assert curl(running, go_servers.MANIFEST_PATH, "--http1.1")[1] == "1.1"


@pytest.fixture
def steered():
    server = next(s for s in go_servers.servers() if s.name == "goserver-plain")
    need(server)
    with server.start() as running:
        yield running


def digest_of(reference):
    return "sha256:" + hashlib.sha256(reference.encode()).hexdigest()


def test_access_log_agrees_with_client(steered):
    path = "/v2/a/b%2Fc/manifests/v1?headers=40"
    status, _, headers = curl(steered, path)
    assert status == 200
    assert headers["docker-content-digest"] == digest_of("v1")
    assert len([h for h in headers if h.startswith("x-extra-")]) == 40
    entry, = steered.log()
    assert entry.pop("peer").startswith("127.0.0.1:")
    assert entry == {"method": "GET", "uri": path, "status": 200, "digest": digest_of("v1"),
                     "proto": "HTTP/1.1", "outcome": "finished"}


@pytest.mark.parametrize("query, options, status, logged, outcome", [
    ("", ["-I"], 200, 200, "finished"),
    ("", ["-X", "PUT"], 201, 201, "finished"),
    ("", ["-X", "DELETE"], 202, 202, "finished"),
    ("?status=206", [], 206, 206, "finished"),
    ("?status=304", [], 304, 304, "finished"),
    ("?status=503", [], 503, 503, "finished"),
    ("?do=nothing", [], 200, 0, "finished"),
    ("?do=panic", [], 0, 0, "panic"),
    ("?do=abort", [], 0, 0, "panic"),
    ("?do=hijack", [], 200, 0, "hijack"),
    ("?do=clear", [], 200, 200, "finished"),
    ("?do=flush&size=100000", [], 200, 200, "finished"),
    ("?depth=2000", [], 200, 200, "finished"),
])
def test_steered_reply_ends_as_asked(steered, query, options, status, logged, outcome):
    path = "/v2/a/manifests/v1" + query
    assert curl(steered, path, *options)[0] == status
    entry, = steered.log()
    assert (entry["uri"], entry["status"], entry["outcome"]) == (path, logged, outcome)


def test_unknown_path_is_404(steered):
    assert curl(steered, "/v2/a/tags/list")[0] == 404
    assert curl(steered, "/v2/")[0] == 200
