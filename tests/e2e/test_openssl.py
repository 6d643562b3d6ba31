# SPDX-License-Identifier: MIT
"""
Servers that pulltap knows nothing of but that they speak TLS by OpenSSL: haproxy, apache and nginx
in front of a real docker-registry, and Python's http.server. Each total of each tag and manifest
equals the server's own log, whatever it is asked, while large blobs full of what looks like replies
go out.
"""
import collections
import http.client

import pytest

from lib import apache, books, haproxy, load, nginx
from lib.agent import Agent
from lib.apache import Apache
from lib.clients import client
from lib.frontends import (REQUESTS, USER, Downloads, curl_asks, fill, images, lines, load_by_wrk,
                           misleading, mix, put_blob, with_password)
from lib.haproxy import Haproxy
from lib.images import Image
from lib.nginx import Nginx
from lib.proc import CI
from lib.registry import Registry
from lib.talker import Talker, manifest
from lib.tls_front import trusting
from lib.tls_scene import FULL
from lib.tls_server import TlsServer
from lib.truth import SentTruth

pytestmark = pytest.mark.needs_pulltap

BLOB_BYTES = 24 << 20
PASS = "location / { proxy_force_ranges on; proxy_pass http://registry; }"


Served = collections.namedtuple("Served", "server names blob push")


def behind(keep, front):
    """front(port) before a registry."""
    registry = keep(Registry(user=USER)).start()
    names = fill(registry)
    blob = put_blob(registry, misleading(BLOB_BYTES))
    server = keep(front(registry.port)).start()

    def push(number):
        """By way of the front end, over one connection: POST, PUT and a PUT of the manifest."""
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=30,
                                                 context=trusting(server))
        for turn in range(number):
            registry.push(Image(f"pushed {turn}"), "pushed/app", f"t{turn}", connection=connection)
        connection.close()

    return Served(server, names, blob, push)


def python(keep, **settings):
    server = keep(TlsServer(user=USER, **settings))
    for image, repository, tags in images():
        server.push(image, repository, *tags)
    blob = f"/v2/blobs/large/blobs/{server.put_blob(misleading(BLOB_BYTES))}"
    return Served(server.start(), server.names(), blob, lambda number: None)


SERVERS = {
    "haproxy": (lambda keep: behind(keep, Haproxy), haproxy.installed),
    "nginx": (lambda keep: behind(keep, lambda port: Nginx(port, tls=True, server=PASS)),
              nginx.installed),
    "apache": (lambda keep: behind(keep, lambda port: Apache(port, tls=True)), apache.installed),
    # its children are forked and have their SSLs at the same addresses
    "apache, prefork": (
        lambda keep: behind(keep, lambda port: Apache(port, tls=True, mpm="prefork")),
        apache.installed),
    "python3": (python, lambda: True),
    "python3, 4 processes": (lambda keep: python(keep, workers=4, together=True), lambda: True),
}


def serve(keep, name):
    start, installed = SERVERS[name]
    if not installed() and not CI:
        pytest.skip(f"{name} is not installed")
    return start(keep)


def watch(keep, database, server, **settings):
    return keep(Agent(database.conninfo(), f"openssl:{server.binary}", **settings)).start()


@pytest.mark.parametrize("name", SERVERS if FULL else ["haproxy", "apache, prefork",
                                                      "python3, 4 processes"])
def test_totals_equal_the_servers_log_while_blobs_go_out(keep, database, folder, figure, name):
    """Kept connections by wrk, new ones by curl, pushes, and downloads at the same time."""
    served = serve(keep, name)
    server = served.server
    agent = watch(keep, database, server)
    asks = with_password(mix(served.names)
                         + [("GET", served.blob, {"Range": "bytes=1000-9000"})] * 20)
    closing = [(method, path, {**headers, "Connection": "close"})
               for method, path, headers in asks[::3]]
    wanted = REQUESTS // (4 if FULL else 12)
    rounds = 0
    with Downloads(server, served.blob, 2) as downloads:
        served.push(5)
        while lines(server) < wanted and rounds < 40:
            rounds += 1
            load_by_wrk(server, asks, folder, rounds, seconds=8 if FULL else 2)
            load.curl(server, curl_asks(closing, 100, rounds), parallel=8)
    logged, truth = books.check_tls(database, server, agent)
    statuses = collections.Counter((r.method, r.status) for r in logged)
    for one in (("GET", 200), ("HEAD", 200), ("GET", 304), ("GET", 206), ("GET", 401),
                ("GET", 404), ("HEAD", 404), ("POST", 405)):
        assert statuses[one], (one, statuses)
    assert len(logged) >= wanted and downloads.done
    assert truth.pulls > wanted / 20 and truth.checks > wanted / 20
    assert {r.proto for r in logged} == {"HTTP/1.1"}
    figure(f"{name}, {downloads.done} blobs of {BLOB_BYTES >> 20} MB", "openssl",
           "HTTP/1.1 over TLS", len(logged), "exact")


def test_a_head_and_its_get_are_one_pull_on_one_connection(keep, database, figure):
    """Whose a connection is isn't known: on two of them they are a check and a pull."""
    served = serve(keep, "haproxy")
    server = served.server
    agent = watch(keep, database, server, hint=60)
    asks = [(manifest(repository, method="HEAD", reference=tag),
             manifest(repository, reference=digest))
            for (repository, tag), digest in list(served.names.items())[:20]]
    for head, get in asks[:10]:
        with Talker(server) as client:
            client.send(head).reply("HEAD")
            client.send(get).reply()
    apart = server.mark()
    for head, get in asks[10:]:
        for data, method in ((head, "HEAD"), (get, "GET")):
            with Talker(server) as client:
                client.send(data).reply(method)
    server.settle()
    agent.stop()
    truth = SentTruth(hints=True).feed(server.requests()[:20])
    assert truth.hinted == 10
    truth.hints = False
    books.check(database, truth.feed(server.requests(apart)))


def test_skopeo_and_many_connections_are_as_in_haproxys_log(keep, database, figure):
    served = serve(keep, "haproxy")
    served.server.user, served.server.tokens = USER, None
    skopeo = keep(client("skopeo", served.server))
    agent = watch(keep, database, served.server)
    for (repository, tag), digest in list(served.names.items())[:3]:
        skopeo.pull(served.server, repository, tag)
        skopeo.pull(served.server, repository, digest)
    with Downloads(served.server, served.blob, 8):
        load.curl(served.server, curl_asks(with_password(mix(served.names)), 400, 1), parallel=64)
    logged, _ = books.check_tls(database, served.server, agent)
    figure("haproxy, skopeo and 64 connections", "openssl", "HTTP/1.1 over TLS", len(logged),
           "exact")


@pytest.mark.parametrize("suite", ["bullseye", "trixie", "sid"])
def test_other_releases_of_openssl_are_counted_as_exactly(keep, database, figure, suite):
    """1.1.1, 3.5 and 3.6, each in a root of its own, with the nginx that was built for it."""
    _, binary, chroot = nginx.build(suite)
    served = behind(keep, lambda port: Nginx(port, tls=True, server=PASS, binary=binary,
                                             chroot=chroot))
    agent = watch(keep, database, served.server)
    asks = with_password(mix(served.names))
    load.curl(served.server, curl_asks(asks, 600, 1), parallel=8)
    load.curl(served.server, [load.ask("GET", served.blob)] * 2)
    logged, truth = books.check_tls(database, served.server, agent)
    assert len(logged) >= 600 and truth.pulls > 100 and truth.checks > 30
    figure(f"nginx, OpenSSL of {suite}", "openssl", "HTTP/1.1 over TLS", len(logged), "exact")
