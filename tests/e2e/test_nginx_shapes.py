# SPDX-License-Identifier: MIT
"""
What clients and configurations do to nginx besides asking for manifests: sub-requests, redirects,
many headers, heads that are none, clients that leave. Each hit is a line of nginx's log.
"""
import collections
import contextlib
import resource
import socket

import pytest

from lib import books, load
from lib.agent import Agent
from lib.images import ACCEPT, Image
from lib.nginx import Nginx, installed
from lib.proc import CI
from lib.raw import heads, raw, streams
from lib.registry import Registry
from lib.truth import SentTruth

pytestmark = [pytest.mark.needs_pulltap,
              pytest.mark.skipif(not installed() and not CI, reason="nginx is not installed")]

SERVER_OF_ALL_SORTS = """
location / { proxy_pass http://registry; }
location ~ ^/v2/guarded/ {
	auth_request /guard;
	proxy_pass http://registry;
}
location = /guard { internal; proxy_pass http://registry/v2/; proxy_pass_request_body off; }
location ~ ^/v2/mirrored/ { mirror /shadow; proxy_pass http://registry; }
location = /shadow { internal; proxy_pass http://registry/v2/a/manifests/t; }
location ~ ^/v2/excused/ {
	proxy_intercept_errors on;
	error_page 404 =200 /v2/a/manifests/t;
	error_page 401 403 @refused;
	proxy_pass http://registry;
}
location @refused { return 403 "no"; }
location ~ ^/v2/moved/ {
	rewrite ^/v2/moved/(.*)$ /v2/$1 break;
	proxy_pass http://registry;
}
location ~ ^/v2/denied/ { return 403; }
location ~ ^/v2/dropped/ { return 444; }
location ~ ^/v2/slow/ {
	limit_rate 1;
	add_header Docker-Content-Digest %s;
	return 200 "a body that takes half a minute to send";
}
location ~ ^/v2/many/ {
	%s
	add_header dOCKER-cONTENT-dIGEST %s;
	return 200 "ok";
}
"""
MADE = "sha256:" + "ab" * 32


def all_sorts(headers):
    return SERVER_OF_ALL_SORTS % (
        MADE, "".join(f"add_header X-Filler-{n} {n};" for n in range(headers)), MADE)


def test_what_the_client_asked_for_is_counted_once(keep, database):
    """Sub-requests, internal redirects, mirrors, error pages, rewrites: one count, its own URI."""
    registry = keep(Registry()).start()
    for repository in ("a", "guarded/a", "mirrored/a", "excused/a"):
        registry.push(Image("one"), repository, "t")
    nginx = keep(Nginx(registry.port, server=all_sorts(17))).start()
    agent = keep(Agent(database.conninfo(), nginx.binary)).start()
    paths = ["/v2/a/manifests/t", "/v2/guarded/a/manifests/t", "/v2/mirrored/a/manifests/t",
             "/v2/excused/a/manifests/t", "/v2/excused/a/manifests/absent",
             "/v2/moved/a/manifests/t", "/v2/denied/a/manifests/t", "/v2/many/a/manifests/t"]
    asks = [load.ask(method, path) for path in paths for method in ("GET", "HEAD")] * 5
    load.curl(nginx, asks, parallel=4)
    logged, truth = books.check_front_end(database, nginx, agent)
    assert len(logged) == len(asks)
    assert truth.tags["moved/a", "t"].pulls == 5 and truth.tags["excused/a", "absent"].pulls == 5
    assert truth.manifests["many/a", MADE].pulls == 5


@pytest.mark.parametrize("headers,found", [(0, True), (18, True), (19, True), (39, True),
                                           (57, True), (60, False), (100, False)])
def test_digest_is_found_among_many_headers(keep, database, headers, found):
    """nginx keeps 20 headers together; three such parts are looked at."""
    nginx = keep(Nginx(1, server=all_sorts(headers))).start()
    agent = keep(Agent(database.conninfo(), nginx.binary)).start()
    load.curl(nginx, [load.ask("GET", "/v2/many/a/manifests/t")] * 3)
    nginx.settle()
    agent.stop()
    assert [(row["tag"], row["pulls"]) for row in database.tags("test")] == [("t", 3)]
    assert [row["digest"] for row in database.manifests("test")] == ([MADE] if found else [])
    assert books.counter(database, "note_digest_unread") == (0 if found else 3)


def test_clients_that_vanish_are_as_in_the_log(keep, database, figure):
    registry = keep(Registry()).start()
    registry.push(Image("one"), "a", "t")
    nginx = keep(Nginx(registry.port, server=all_sorts(0))).start()
    agent = keep(Agent(database.conninfo(), nginx.binary)).start()
    accept = b"Accept: " + ACCEPT.encode() + b"\r\n"
    get = b"GET /v2/a/manifests/t HTTP/1.1\r\nHost: a\r\n" + accept + b"\r\n"
    raw(nginx, b"")
    raw(nginx, b"GET /v2/a/manif", 0.1)
    raw(nginx, get[:-2], 0.1)
    raw(nginx, get, 0)
    for _ in range(5):
        raw(nginx, get.replace(b"/a/", b"/slow/"), 0.2)
    raw(nginx, get.replace(b"/a/", b"/dropped/"))
    raw(nginx, get * 8)  # pipelined
    raw(nginx, b"GET /v2/a/manifests/t\r\n")  # HTTP/0.9
    raw(nginx, b"GET /v2/a/manifests/t HTTP/1.0\r\n" + accept + b"\r\n")
    nginx.settle()
    agent.stop()
    logged = nginx.requests()
    statuses = collections.Counter(r.status for r in logged)
    assert statuses[444] == 1 and statuses[200] >= 10, statuses
    # a status that was never sent is none of a pull's; the log's 200 of an aborted body is
    books.check(database, SentTruth().feed(logged), hits=len(logged))
    figure("nginx, clients that vanish", "nginx", "HTTP/1.1", len(logged), "exact")


def test_malformed_and_enormous_heads_switch_nothing_off(keep, database, figure):
    """What a client may send must not look like a wrong layout, however often."""
    registry = keep(Registry()).start()
    registry.push(Image("one"), "a", "t")
    nginx = keep(Nginx(registry.port)).start()
    agent = keep(Agent(database.conninfo(), nginx.binary)).start()
    shapes = heads()
    for shape in shapes * 3:
        raw(nginx, shape, 0.3)
    nginx.settle()
    agent.stop()
    logged = nginx.requests()
    assert len(logged) >= len(shapes) * 2
    books.check(database, SentTruth().feed(r for r in logged if len(r.uri) < 500),
                hits=len(logged))
    assert not agent.events("target switched off: its layout is not the expected one")
    figure("nginx, malformed heads", "nginx", "HTTP/1.1", len(logged), "exact")


def test_streams_that_are_reset_at_once_are_as_in_the_log(keep, database, figure):
    """HTTP/2 rapid reset: a hit is a request that nginx logged, no more and no less."""
    registry = keep(Registry()).start()
    registry.push(Image("one"), "a", "t")
    nginx = keep(Nginx(registry.port, http2=True)).start()
    agent = keep(Agent(database.conninfo(), nginx.binary)).start()
    for kept in range(20):  # of each connection's streams the first ones are left alone
        raw(nginx, streams("/v2/a/manifests/t", 100, kept), 0.3)
    logged, truth = books.check_front_end(database, nginx, agent)
    statuses = collections.Counter(r.status for r in logged)
    assert statuses[200] > 50 and statuses[499] > 50, statuses
    figure("nginx, streams reset at once", "nginx", "HTTP/2", len(logged), "exact")


@pytest.fixture
def many_files():
    """10,000 connections and what a test needs besides."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (12000, max(hard, 12000)))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_10000_idle_connections_change_no_count(keep, database, figure, many_files):
    """Silent ones, kept ones that were served, and heads that never end: only requests count."""
    registry = keep(Registry()).start()
    registry.push(Image("one"), "a", "t")
    nginx = keep(Nginx(registry.port)).start()
    agent = keep(Agent(database.conninfo(), nginx.binary)).start()
    head = b"GET /v2/a/manifests/t HTTP/1.1\r\nHost: a\r\nAccept: " + ACCEPT.encode() + b"\r\n"
    with contextlib.ExitStack() as idle:
        def connect(data):
            connection = socket.create_connection(("127.0.0.1", nginx.port), timeout=30)
            idle.enter_context(connection)
            connection.sendall(data)
            return connection

        for number in range(10000):
            data = b"" if number % 10 < 8 else head if number % 10 == 8 else head + b"\r\n"
            connection = connect(data)
            if data.endswith(b"\r\n\r\n"):
                assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        load.curl(nginx, [load.ask("GET", "/v2/a/manifests/t")] * 500, parallel=8)
    logged, truth = books.check_front_end(database, nginx, agent)
    statuses = collections.Counter(r.status for r in logged)
    # the heads that never ended are requests to nginx, and to its log, once their clients left
    assert statuses == {200: 1500, 400: 1000}
    assert truth.tags["a", "t"].pulls == 1500
    figure("nginx, 10,000 idle connections", "nginx", "HTTP/1.1", len(logged), "exact")
