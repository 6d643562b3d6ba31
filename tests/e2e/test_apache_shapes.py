# SPDX-License-Identifier: MIT
"""
What clients and configurations do to apache besides asking for manifests: sub-requests, redirects,
many headers, heads that are none, clients that leave. Each hit is a line of apache's log.
"""
import collections
import os
import socket

import pytest

from lib import books, load
from lib.agent import Agent
from lib.apache import Apache, installed
from lib.images import ACCEPT, Image
from lib.proc import CI
from lib.raw import heads, raw, streams
from lib.registry import Registry
from lib.truth import SentTruth

pytestmark = [pytest.mark.needs_pulltap,
              pytest.mark.skipif(not installed() and not CI, reason="apache2 is not installed")]

MADE = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32
SERVER_OF_ALL_SORTS = """
LimitRequestFieldSize 65000
ProxyPass /v2/denied/ !
ProxyPass /v2/made/ !
ProxyPass /v2/always/ !
ProxyPass /v2/slow/ !
RewriteEngine On
RewriteRule ^/v2/moved/(.*)$ @upstream@/v2/$1 [P]
RewriteCond %%{LA-U:REQUEST_FILENAME} !^nowhere
RewriteRule ^/v2/looked/(.*)$ @upstream@/v2/$1 [P]
RewriteRule ^/v2/inner/(.*)$ /v2/$1 [PT]
<Location /v2/denied/>
	Require all denied
</Location>
<Location /v2/excused/>
	ProxyErrorOverride On
	ErrorDocument 404 /v2/a/manifests/t
</Location>
<Location /v2/worded/>
	ProxyErrorOverride On
	ErrorDocument 404 "nothing of that name"
</Location>
<Location /v2/looping/>
	ProxyErrorOverride On
	ErrorDocument 404 /v2/looping/again
</Location>
%s
<Location /v2/made/>
	Header set dOCKER-cONTENT-dIGEST %s
</Location>
<Location /v2/always/>
	Header always set Docker-Content-Digest %s
</Location>
<Location /v2/slow/>
	Header set Docker-Content-Digest %s
	SetOutputFilter RATE_LIMIT
	SetEnv rate-limit 4
</Location>
ProxyPass / @upstream@/ nocanon
"""


def started(keep, upstream, more="", made=("made/a", "always/a", "slow/a"), **others):
    """more: lines of its configuration; made: repositories with a tag that apache itself serves."""
    apache = keep(Apache(upstream, modules=("env", "ratelimit", "reqtimeout"),
                         server=SERVER_OF_ALL_SORTS % (more, MADE, OTHER, MADE), **others))
    for repository in made:
        name = f"v2/{repository}/manifests/t"
        os.makedirs(os.path.dirname(apache.folder / name))
        apache.folder.write(name, "x" * (200000 if "slow" in repository else 100))
    return apache.start()


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
def test_what_the_client_asked_for_is_counted_once(keep, database, http2):
    """Sub-requests, internal redirects, error documents, rewrites: one count, its own URI."""
    registry = keep(Registry()).start()
    for repository in ("a", "excused/a"):
        registry.push(Image("one"), repository, "t")
    apache = started(keep, registry.port, tls=http2, http2=http2)
    agent = keep(Agent(database.conninfo(), apache.binary)).start()
    paths = ["/v2/a/manifests/t", "/v2/excused/a/manifests/t", "/v2/excused/a/manifests/absent",
             "/v2/worded/a/manifests/t", "/v2/looping/a/manifests/t", "/v2/moved/a/manifests/t",
             "/v2/looked/a/manifests/t", "/v2/inner/a/manifests/t", "/v2/denied/a/manifests/t",
             "/v2/made/a/manifests/t", "/v2/always/a/manifests/t", "/v2/made/a/manifests"]
    asks = [load.ask(method, path) for path in paths for method in ("GET", "HEAD")] * 5
    asks += [load.ask("PUT", f"/v2/{name}/a/manifests/absent") for name in ("excused", "made")]
    got = load.curl(apache, asks, parallel=4, http2=http2)
    logged, truth = books.check_front_end(database, apache, agent)
    assert len(logged) == len(asks)
    # where an ErrorDocument leads to itself apache logs 500 and sends the first status
    assert collections.Counter((r.method, r.uri, r.status) for r in logged
                               if "looping" not in r.uri) == \
        collections.Counter((r.method, r.path, r.status) for r in got if "looping" not in r.path)
    assert truth.tags["moved/a", "t"].pulls == truth.tags["looked/a", "t"].pulls == 5
    assert truth.manifests["made/a", MADE].pulls == truth.manifests["always/a", OTHER].pulls == 5


def test_digest_is_found_among_many_headers(keep, database):
    """128 are looked at."""
    found = {0: True, 63: True, 64: True, 120: True, 128: False, 200: False}
    fillers = {number: "".join(f"Header set X-Filler-{n} {n}\n" for n in range(number))
               for number in found}
    lines = "".join(f"<Location /v2/made/{number}/>\n{text}</Location>\n"
                    for number, text in fillers.items())
    apache = started(keep, 1, lines, made=[f"made/{number}" for number in found])
    agent = keep(Agent(database.conninfo(), apache.binary)).start()
    load.curl(apache, [load.ask("GET", f"/v2/made/{number}/manifests/t") for number in found] * 3)
    apache.settle()
    agent.stop()
    assert {row["repository"]: row["pulls"] for row in database.tags("test")} == \
        {f"made/{number}": 3 for number in found}
    assert {row["repository"]: row["digest"] for row in database.manifests("test")} == \
        {f"made/{number}": MADE for number in found if found[number]}
    assert books.counter(database, "note_digest_unread") == 6


def test_clients_that_vanish_are_as_in_the_log(keep, database, figure):
    registry = keep(Registry()).start()
    registry.push(Image("one"), "a", "t")
    apache = started(keep, registry.port, main="RequestReadTimeout header=1 body=1\n")
    agent = keep(Agent(database.conninfo(), apache.binary)).start()
    accept = b"Accept: " + ACCEPT.encode() + b"\r\n"
    get = b"GET /v2/a/manifests/t HTTP/1.1\r\nHost: a\r\n" + accept + b"\r\n"
    idle = [socket.create_connection(("127.0.0.1", apache.port)) for _ in range(500)]
    for connection in idle:
        connection.close()
    raw(apache, b"GET /v2/a/manif", 0.1)
    raw(apache, b"GET /v2/a/manif", 2)  # too slow
    raw(apache, get[:-2], 0.1)
    raw(apache, get[:-2], 2)
    raw(apache, get, 0)
    for _ in range(5):
        raw(apache, get.replace(b"/a/", b"/slow/a/"), 0.2)
    raw(apache, get * 8)  # pipelined
    raw(apache, b"GET /v2/a/manifests/t\r\n")  # HTTP/0.9
    raw(apache, b"GET /v2/a/manifests/t HTTP/1.0\r\n" + accept + b"\r\n")
    logged, truth = books.check_front_end(database, apache, agent)
    statuses = collections.Counter(r.status for r in logged)
    assert statuses[408] >= 2 and statuses[200] >= 10, statuses
    assert truth.manifests["slow/a", MADE].pulls == 5
    figure("apache, clients that vanish", "apache", "HTTP/1.x", len(logged), "exact")


def test_malformed_and_enormous_heads_switch_nothing_off(keep, database, figure):
    """What a client may send must not look like a wrong layout, however often."""
    registry = keep(Registry()).start()
    registry.push(Image("one"), "a", "t")
    apache = started(keep, registry.port)
    agent = keep(Agent(database.conninfo(), apache.binary)).start()
    shapes = heads()
    for shape in shapes * 3:
        raw(apache, shape, 0.3)
    apache.settle()
    agent.stop()
    logged = apache.requests()
    assert len(logged) >= len(shapes) * 2
    books.check(database, SentTruth().feed(r for r in logged if len(r.uri) < 500),
                hits=len(logged))
    assert not agent.events("target switched off: its layout is not the expected one")
    figure("apache, malformed heads", "apache", "HTTP/1.x", len(logged), "exact")


def test_streams_that_are_reset_at_once_are_as_in_the_log(keep, database, figure):
    """HTTP/2 rapid reset: a hit is a request that apache logged, no more and no less."""
    registry = keep(Registry()).start()
    registry.push(Image("one"), "a", "t")
    apache = started(keep, registry.port, http2=True)
    agent = keep(Agent(database.conninfo(), apache.binary)).start()
    for kept in range(20):  # of each connection's streams the first ones are left alone
        raw(apache, streams("/v2/a/manifests/t", 100, kept), 0.3)
    logged, truth = books.check_front_end(database, apache, agent)
    statuses = collections.Counter(r.status for r in logged)
    assert statuses[200] > 50, statuses
    figure("apache, rapid resets", "apache", "HTTP/2", len(logged), "exact")
