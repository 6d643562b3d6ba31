# SPDX-License-Identifier: MIT
"""
The fixtures themselves: the access log holds what the clients did, the truth computed from it is
what was done. Nothing of pulltap is needed here.
"""
import collections

import pytest

from lib import frontends, haproxy, load, proc
from lib.clients import CLIENTS, client
from lib.images import DOCKER, Image
from lib.proc import Folder, Process, until
from lib.registry import Registry, Request, parse_line
from lib.tls_server import TlsServer
from lib.truth import Reference, Total, Truth, reference_of


def test_access_log_lines_are_read_back_exactly():
    line = (rb'127.0.0.1 - - [01/Jan/2026:00:00:00 +0000] "GET /v2/a\"b/manifests/x\\y\xff?n=\"1 '
            rb'HTTP/1.1" 404 91 "" "agent \"of\" chaos"')
    assert parse_line(line) == Request("127.0.0.1", "GET", "/v2/a\"b/manifests/x\\y\udcff?n=\"1",
                                       404, "HTTP/1.1", 'agent "of" chaos')


@pytest.mark.parametrize("uri,expected", [
    ("/v2/a/manifests/t", Reference("a", "t", None)),
    ("/v2/a/b/c/manifests/t?ns=x", Reference("a/b/c", "t", None)),
    ("/v2/a/manifests/manifests/t", Reference("a/manifests", "t", None)),
    ("/prefix/v2/a/manifests/sha256:" + "0" * 64, Reference("a", None, "sha256:" + "0" * 64)),
    ("/v2/a/manifests/sha256%3A" + "0" * 64, Reference("a", None, "sha256:" + "0" * 64)),
    ("/v2/a/blobs/sha256:" + "0" * 64, None),
    ("/v2/manifests/t", None),
    ("/v2/a/manifests/", None),
    ("/v2/a/tags/list", None),
    ("/v2/", None),
])
def test_uri_names_its_manifest(uri, expected):
    assert reference_of(uri) == expected


def test_truth_counts_by_the_contract():
    digest, other = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    names = {("a", "t"): digest, ("a", "u"): digest, ("a", "v"): other}

    def asked(method, reference, status, remote="1"):
        return Request(remote, method, f"/v2/a/manifests/{reference}", status, "HTTP/1.1", "")

    log = [
        asked("GET", "t", 200), asked("GET", "t", 401), asked("GET", "t", 304),
        asked("HEAD", "u", 200), asked("GET", digest, 200), asked("GET", digest, 200),
        asked("HEAD", "v", 200), asked("GET", other, 200, remote="2"), asked("GET", "w", 404),
        asked("GET", digest, 206), asked("HEAD", other, 200),
    ]
    plain = Truth(names).feed(log)
    assert dict(plain.tags) == {("a", "t"): Total(1, 1), ("a", "u"): Total(0, 1),
                                ("a", "v"): Total(0, 1)}
    assert dict(plain.manifests) == {("a", digest): Total(3, 1), ("a", other): Total(1, 2)}
    hinted = Truth(names, hints=True).feed(log)
    assert hinted.hinted == 1
    assert dict(hinted.tags) == {("a", "t"): Total(1, 1), ("a", "u"): Total(1, 0),
                                 ("a", "v"): Total(0, 1)}
    assert dict(hinted.manifests) == {("a", digest): Total(3, 0), ("a", other): Total(1, 2)}


def test_truth_names_every_difference():
    digest = "sha256:" + "1" * 64
    truth = Truth({("a", "t"): digest}).feed(
        [Request("1", "GET", "/v2/a/manifests/t", 200, "HTTP/1.1", "")])
    tag = {"repository": "a", "tag": "t", "pulls": 1, "checks": 0}
    manifest = {"repository": "a", "digest": digest, "pulls": 1, "checks": 0}
    assert truth.differences([tag], [manifest]) == []
    assert len(truth.differences([dict(tag, pulls=2)], [manifest])) == 1
    assert len(truth.differences([tag], [])) == 1
    assert len(truth.differences([tag, dict(tag, tag="u")], [manifest])) == 1
    assert truth.differences([tag, dict(tag, tag="u", pulls=0)], [manifest]) == []
    assert len(truth.differences([tag, tag], [manifest])) == 1


@pytest.mark.parametrize("tls,http2,user", [
    (False, False, None), (True, False, None), (True, True, None), (True, True, ("me", "pw"))])
def test_access_log_holds_exactly_what_curl_did(keep, tls, http2, user):
    registry = keep(Registry(tls=tls, user=user)).start()
    image = Image("one")
    registry.push(image, "some/name", "t1", "t2")
    assert registry.names() == {("some/name", "t1"): image.digest,
                                ("some/name", "t2"): image.digest}
    base = "/v2/some/name/manifests/"
    asks = [
        load.ask("GET", base + "t1", user), load.ask("HEAD", base + "t2", user),
        load.ask("GET", base + image.digest, user), load.ask("HEAD", base + image.digest, user),
        load.ask("GET", base + "absent", user), load.ask("GET", base + "t1?ns=example", user),
        load.ask("GET", base + "t1", user, If_None_Match=f'"{image.digest}"'),
        load.ask("GET", "/v2/", user), load.ask("HEAD", base + "t1"),
    ] * 20
    since = registry.mark()
    got = load.curl(registry, asks, http2=http2)
    registry.stop()
    logged = registry.requests(since)
    assert (collections.Counter((r.method, r.uri, r.status, r.proto) for r in logged) ==
            collections.Counter((g.method, g.path, g.status,
                                 "HTTP/2.0" if g.proto == "2" else "HTTP/1.1") for g in got))
    assert {g.proto for g in got} == {"2" if http2 else "1.1"}
    truth = Truth(registry.names()).feed(logged)
    anonymous = (0, 20) if user is None else (0, 0)
    assert truth.tags["some/name", "t1"] == Total(40, 20 + anonymous[1])
    assert truth.tags["some/name", "t2"] == Total(0, 20)
    assert truth.manifests["some/name", image.digest] == Total(60, 40 + anonymous[1])
    assert truth.statuses["GET", 304] == 20 and truth.statuses["GET", 404] == 20
    assert truth.statuses["HEAD", 401] == (20 if user else 0)


def test_not_modified_names_no_digest(keep):
    """The truth model rests on this: docker-registry's 304 carries no digest header."""
    registry = keep(Registry()).start()
    digest = registry.push(Image("one"), "a", "t")
    connection = registry.connect()
    reply = registry.ask(connection, "GET", "/v2/a/manifests/t", expect=(304,),
                         **{"If-None-Match": f'"{digest}"'})
    assert reply.headers.get("Docker-Content-Digest") is None


CHILD_PULLS = {  # successful manifest requests of a fresh pull of a multi-platform tag
    "skopeo": ["GET index tag", "GET child digest"],
    "podman": ["GET index tag", "GET child digest"],
    "buildah": ["GET index tag", "GET child digest"],
    "docker": ["HEAD index tag", "GET index digest", "GET child digest"],
    "containerd": ["HEAD index tag", "GET index digest", "GET child digest"],
}


@pytest.mark.parametrize("name", sorted(CLIENTS))
def test_client_pushes_and_pulls(keep, name):
    registry = keep(Registry()).start()
    one = keep(client(name, registry))
    image = Image("single " + name)
    one.push(registry, image, "pushed/single", "v1")
    names = registry.names()
    assert ("pushed/single", "v1") in names
    if name in ("skopeo", "containerd"):
        assert names["pushed/single", "v1"] == image.digest
    many = Image("many " + name, ("linux/amd64", "linux/arm64"))
    if name != "docker":
        one.push(registry, many, "pushed/many", "v1")
        assert ("pushed/many", "v1") in registry.names()
    registry.push(many, "many", "v1")
    child = many.children["linux/amd64"][0]

    since = registry.mark()
    one.pull(registry, "many", "v1")
    one.forget()
    registry.settle()
    kinds = {many.digest: "index digest", child: "child digest", "v1": "index tag"}
    seen = [f"{r.method} {kinds[r.uri.split('/')[-1].split('?')[0]]}"
            for r in registry.requests(since) if reference_of(r.uri) and r.status == 200]
    assert seen == CHILD_PULLS[name]

    since = registry.mark()
    one.pull(registry, "many", child)
    one.forget()
    one.pull(registry, "many", many.digest)
    one.forget()
    registry.settle()
    truth = Truth(registry.names(), hints=True).feed(registry.requests(since))
    assert truth.manifests["many", child].pulls == 2
    assert truth.manifests["many", many.digest].pulls == 1
    assert not truth.tags


@pytest.mark.parametrize("name", sorted(CLIENTS))
def test_client_logs_in_over_tls(keep, name):
    registry = keep(Registry(tls=True, user=("me", "secret"))).start()
    image = Image("tls " + name, types=DOCKER)
    registry.push(image, "a/b", "v1")
    one = keep(client(name, registry))
    since = registry.mark()
    one.pull(registry, "a/b", "v1")
    registry.stop()
    truth = Truth(registry.names(), hints=True).feed(registry.requests(since))
    assert truth.tags["a/b", "v1"] == Total(1, 0)
    assert truth.manifests["a/b", image.digest] == Total(1, 0)


def test_postgres_answers_and_leaves_nothing(keep):
    from lib.postgres import Postgres
    with Postgres() as postgres:
        folder = postgres.folder.path
        assert postgres.rows("select 1 as a, 'x' as b") == [{"a": 1, "b": "x"}]
        pid = postgres.process.pid
    assert not proc.os.path.exists(folder)
    assert not proc.os.path.exists(f"/proc/{pid}")


def test_processes_end_with_their_parent():
    """A runner that is killed leaves nothing behind."""
    import subprocess
    import sys
    code = ("import sys, time; sys.path.insert(0, sys.argv[1]); from lib.proc import Process; "
            "print(Process(['sleep', '1000']).pid, flush=True); time.sleep(1000)")
    parent = subprocess.Popen([sys.executable, "-c", code, proc.os.path.dirname(__file__)],
                              stdout=subprocess.PIPE)
    child = int(parent.stdout.readline())
    until(lambda: _command(child) == "sleep", 5, what="setpriv has become sleep")
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until(lambda: not _alive(child), 5, what="the child ends")


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _command(pid):
    with open(f"/proc/{pid}/comm") as comm:
        return comm.read().strip()


def test_folder_unmounts_and_removes():
    with Folder() as folder:
        point = folder.make("mounted")
        proc.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", point])
        path = folder.path
    assert not proc.os.path.exists(path)


def test_stop_reports_how_a_process_ended():
    process = Process(["sleep", "1000"])
    assert process.stop() == -15
    assert not process.running()


def test_permissive_server_logs_every_byte(keep):
    from lib.permissive import Permissive, name_of
    server = keep(Permissive()).start()
    targets = [b"/v2/a/../b/manifests/t", b"/v2/a%00b/manifests/t", b"/v2/\xff'\"/manifests/t;--",
               b"/v2/a/manifests/t?digest=none", b"/v2/a/manifests/t?digest=x%22&headers=2000",
               b"/v2/" + b"x" * 65536 + b"/manifests/t", b"/v2/a/manifests/t?status=404"]
    for target in targets:
        status, headers = server.send(target)
        assert status == (404 if b"404" in target else 200)
        assert (headers["Docker-Content-Digest"] is None) == (b"digest=none" in target)
    server.send(targets[0], "HEAD")
    logged = server.requests()
    assert [request.method for request, _ in logged] == ["GET"] * len(targets) + ["HEAD"]
    assert name_of(logged[0][0].uri) == (b"a/../b", b"t")
    assert name_of(logged[1][0].uri) == (b"a\0b", b"t")
    assert name_of(logged[2][0].uri) == (b"\xff'\"", b"t;--")
    assert logged[4][1] == 'x"'
    assert name_of(logged[5][0].uri) == (b"x" * 65536, b"t")


def python(keep):
    """Three processes; each reply in one write, and each in several."""
    for together in (False, True):
        server = keep(TlsServer(user=frontends.USER, workers=3, together=together))
        server.push(Image("one"), "a/b", "v1", "v2")
        yield server.start(), server.names()


def behind_haproxy(keep):
    registry = keep(Registry(user=frontends.USER)).start()
    registry.push(Image("one"), "a/b", "v1", "v2")
    yield keep(haproxy.Haproxy(registry.port)).start(), registry.names()


@pytest.mark.parametrize("servers", [python, pytest.param(behind_haproxy, marks=pytest.mark.skipif(
    not haproxy.installed() and not proc.CI, reason="haproxy is not installed"))])
def test_log_of_a_tls_server_is_what_clients_got(keep, servers):
    for server, names in servers(keep):
        asks = frontends.with_password(frontends.mix(names))
        got = load.curl(server, frontends.curl_asks(asks, 400, 1))
        server.settle()
        logged = server.requests()
        assert collections.Counter((one.method, one.path, one.status) for one in got) == \
            collections.Counter((one.method, one.uri, one.status) for one in logged)
        # the registry behind haproxy names no digest in its 304
        assert {one.digest for one in logged if one.status == 200 and "manifests" in one.uri} == \
            {names["a/b", "v1"]}
        assert {one.proto for one in logged} == {"HTTP/1.1"}
