# SPDX-License-Identifier: MIT
"""
apache httpd in front of a real docker-registry, watched by its own probe: each total of each tag and
manifest equals apache's access log, whatever it is asked in whichever way, restarted gracefully
under load. A build whose layout is not known is refused.
"""
import collections
import struct

import pytest

from lib import books, load
from lib.agent import Agent
from lib.apache import SUITES, Apache, fetched, installed
from lib.frontends import (REQUESTS, USER, Reloader, curl_asks, fill, lines, load_by_wrk, mix,
                           protocol, with_password)
from lib.proc import CI
from lib.registry import Registry
from lib.truth import Truth

pytestmark = [pytest.mark.needs_pulltap,
              pytest.mark.skipif(not installed() and not CI, reason="apache2 is not installed")]

CACHE = """
CacheRoot @folder@
CacheEnable disk /
CacheQuickHandler %s
CacheDefaultExpire 2
CacheMinExpire 2
CacheStoreExpired On
CacheIgnoreCacheControl On
ProxyPass / @upstream@/ nocanon
"""
PLAIN = "ProxyPass / @upstream@/ nocanon"


@pytest.mark.parametrize("tls,http2,mpm,cache", [
    pytest.param(False, False, "prefork", None, id="prefork"),
    pytest.param(True, False, "event", "On", id="tls-cache"),
    pytest.param(True, True, "event", "Off", id="http2-cache"),
])
def test_totals_equal_apaches_log_while_it_is_restarted(keep, database, folder, figure, tls, http2,
                                                        mpm, cache):
    """Gracefully: other children come while the old ones answer what they have."""
    registry = keep(Registry(user=USER)).start()
    asks = with_password(mix(fill(registry)))
    apache = keep(Apache(registry.port, tls, http2, mpm,
                         modules=("cache", "cache_disk") if cache else (),
                         server=CACHE % cache if cache else PLAIN)).start()
    agent = keep(Agent(database.conninfo(), apache.binary)).start()
    wanted, restarts = REQUESTS // 8, REQUESTS // 8000
    reloader = Reloader(apache, 1)
    rounds = 0
    while (lines(apache) < wanted or reloader.seen < restarts) and rounds < 40:
        rounds += 1
        # a restart closes the connection under some
        if http2:
            load.curl(apache, curl_asks(asks, max(500, wanted // 3), rounds), parallel=32,
                      http2=True, check=False)
        else:
            load_by_wrk(apache, asks, folder, rounds, seconds=2, check=False)
    reloader.stop()
    logged, truth = books.check_front_end(database, apache, agent)
    assert len(logged) >= wanted
    assert reloader.seen >= restarts, "the children must have been replaced while requests ran"
    # what a restart cut off in its head is logged as HTTP/1.0
    assert {r.proto for r in logged if r.status == 200} == {"HTTP/2.0" if http2 else "HTTP/1.1"}
    statuses = collections.Counter((r.method, r.status) for r in logged)
    for one in (("GET", 200), ("HEAD", 200), ("GET", 304), ("GET", 206), ("GET", 401),
                ("GET", 404), ("HEAD", 404)):
        assert statuses[one], (one, statuses)
    assert truth.pulls > 100 and truth.checks > 100
    figure(f"apache, {mpm}, {reloader.seen} restarts{', cache' * bool(cache)}", "apache",
           protocol(tls, http2), len(logged), "exact")


@pytest.mark.parametrize("suite", SUITES)
def test_other_builds_are_counted_as_exactly(keep, database, figure, suite):
    """Other versions, other compilers, other libraries: HTTP/1.1 and HTTP/2, and a restart."""
    builds, _, said = fetched()
    if suite not in builds:
        reason = f"the build of {suite} could not be had here: {said}"
        pytest.fail(reason) if CI else pytest.skip(reason)
    registry = keep(Registry(user=USER)).start()
    asks = with_password(mix(fill(registry)))
    apache = keep(Apache(registry.port, tls=True, http2=True, root=builds[suite])).start()
    agent = keep(Agent(database.conninfo(), apache.binary)).start()
    wanted = REQUESTS // 24
    load.curl(apache, curl_asks(asks, wanted, 1), parallel=16)
    apache.reload()
    load.curl(apache, curl_asks(asks, wanted, 2), parallel=16, http2=True, check=False)
    logged, truth = books.check_front_end(database, apache, agent)
    assert len(logged) >= wanted * 1.5 and truth.pulls > wanted / 4
    assert {r.proto for r in logged if r.status == 200} == {"HTTP/1.1", "HTTP/2.0"}
    figure(f"apache of {suite}", "apache", "HTTP/1.1 and 2 over TLS", len(logged), "exact")


def test_with_the_registry_behind_it_each_pull_counts_once(keep, database):
    """Both are named: the innermost counts, apache sees and leaves alone."""
    registry = keep(Registry()).start()
    registry.fill(4, repositories=2)
    names = registry.names()
    apache = keep(Apache(registry.port)).start()
    agent = keep(Agent(database.conninfo(), registry.binary, arguments=[
        "--target", f"front={apache.binary}"])).start()
    agent.wait_log("target does not count: its pulls are counted elsewhere on this node")
    since, mark = registry.mark(), apache.mark()
    load.curl(apache, load.mixed(names) * 3)
    registry.settle()
    agent.stop()
    assert len(apache.requests(mark)) == len(registry.requests(since)) == 4 * 4 * 3
    books.check(database, Truth(names).feed(registry.requests(since)))
    assert database.tags("front") == []


def test_a_layout_that_is_not_known_is_refused(keep, database, folder):
    """A build that does not tell which module magic number it has: not a single wrong count."""
    with open(installed(), "rb") as file:
        content = file.read()
    cookie = struct.pack("<Q", 0x41503234)  # apache looks at those alone that it loads
    assert content.count(cookie) > 3
    binary = folder.write("other", content.replace(cookie, bytes(8)))
    apache = keep(Apache(1, binary=binary, server="Redirect 404 /")).start()
    agent = keep(Agent(database.conninfo(), apache.binary)).start()
    load.curl(apache, [load.ask("GET", "/v2/a/manifests/t")] * 20)
    agent.stop()
    event, = agent.events("target can't be observed")
    assert "tells no module magic number" in event["reason"]
    assert database.tags("test") == []
    assert database.value("select coalesce(sum(seen), 0) as sum from pulltap.windows") == 0
