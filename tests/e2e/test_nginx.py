# SPDX-License-Identifier: MIT
"""
nginx in front of a real docker-registry, watched by its own probe: each total of each tag and
manifest equals nginx's access log, whatever it is asked in whichever way, reloaded, upgraded, built
otherwise. A layout that nothing in the binary tells is learned from requests, or refused.
"""
import collections
import os
import shutil
import signal
import time

import pytest

from lib import books, load
from lib.agent import Agent
from lib.frontends import (REQUESTS, USER, Reloader, curl_asks, fill, lines, load_by_wrk, mix,
                           protocol, with_password, wrk)
from lib.nginx import Nginx, build, curl_http3, installed
from lib.proc import CI, until
from lib.registry import Registry
from lib.truth import SentTruth

pytestmark = [pytest.mark.needs_pulltap,
              pytest.mark.skipif(not installed() and not CI, reason="nginx is not installed")]

CACHE_HTTP = "proxy_cache_path @folder@/cache keys_zone=manifests:10m;"
CACHE = """
location / { proxy_pass http://registry; }
location ~ /manifests/ {
	proxy_cache manifests; proxy_cache_valid 200 2s; proxy_cache_methods GET HEAD;
	proxy_cache_key $request_method$request_uri$http_authorization; proxy_force_ranges on;
	proxy_cache_use_stale updating; proxy_pass http://registry;
}
"""
PLAIN = "location / { proxy_force_ranges on; proxy_pass http://registry; }"


def sent(nginx):
    return SentTruth().feed(nginx.requests())


@pytest.mark.parametrize("tls,http2,cache", [
    pytest.param(False, False, False, id="plain"),
    pytest.param(True, False, True, id="tls-cache"),
    pytest.param(True, True, False, id="http2"),
    pytest.param(True, True, True, id="http2-cache"),
])
def test_totals_equal_nginx_log_while_it_is_reloaded(keep, database, folder, figure, tls, http2,
                                                     cache):
    registry = keep(Registry(user=USER)).start()
    asks = with_password(mix(fill(registry)))
    nginx = keep(Nginx(registry.port, tls, http2, http=CACHE_HTTP if cache else "",
                       server=CACHE if cache else PLAIN)).start()
    agent = keep(Agent(database.conninfo(), nginx.binary)).start()
    wanted = REQUESTS // 4
    reloader = Reloader(nginx, nginx.workers)
    rounds = 0
    # GETs come by the second, the others by number: a busy machine needs more rounds for the first
    while (lines(nginx) < wanted or reloader.seen < 3 or sent(nginx).pulls <= wanted / 5) and \
            rounds < 40:
        rounds += 1
        if http2:
            # a reload closes the connection under some
            load.curl(nginx, curl_asks(asks, max(500, wanted // 4), rounds), parallel=32, http2=True, check=False)
        else:
            load_by_wrk(nginx, asks, folder, rounds)
    reloader.stop()
    logged, truth = books.check_front_end(database, nginx, agent)
    assert len(logged) >= wanted
    assert reloader.seen >= 3, "the workers must have been replaced while requests ran"
    assert {r.proto for r in logged} == {"HTTP/2.0" if http2 else "HTTP/1.1"}
    statuses = collections.Counter((r.method, r.status) for r in logged)
    for one in (("GET", 200), ("HEAD", 200), ("GET", 304), ("GET", 206), ("GET", 401),
                ("GET", 404), ("HEAD", 404)):
        assert statuses[one], (one, statuses)
    assert truth.pulls > wanted / 5 and truth.checks > wanted / 10, statuses
    figure(f"nginx, {reloader.seen} reloads{', cache' * cache}", "nginx", protocol(tls, http2),
           len(logged), "exact")


def test_upgrade_of_the_binary_under_load_loses_nothing(keep, database, folder, figure):
    """USR2 starts the file that is there now: another inode, which the agent has probed by then."""
    registry = keep(Registry(user=USER)).start()
    asks = [ask for ask in with_password(mix(fill(registry))) if ask[0] == "GET"]
    nginx = keep(Nginx(registry.port, server=PLAIN, daemon=True)).start()
    agent = keep(Agent(database.conninfo(), nginx.binary)).start()
    client = wrk(nginx, asks, 12, folder, connections=8)
    master = nginx.pid
    for turn in range(3):
        time.sleep(1.5)
        shutil.copy(nginx.binary, nginx.binary + ".new")
        os.rename(nginx.binary + ".new", nginx.binary)
        until(lambda: len(agent.events("target attached")) == turn + 2, 5,
              what="the new file is probed before anybody runs it")
        master = upgrade(nginx, master)
    client.wait(60)
    nginx.settle()
    agent.stop()
    logged = nginx.requests()
    assert len(agent.events("target attached")) == 4
    assert len(logged) > 1000
    books.check(database, SentTruth().feed(logged), hits=len(logged))
    figure("nginx, 3 upgrades by USR2", "nginx", protocol(False, False), len(logged), "exact")


def upgrade(nginx, master):
    """As nginx's manual has it; returns the new master."""
    pidfile = nginx.folder / "nginx.pid"
    os.kill(master, signal.SIGUSR2)

    def new_master():
        try:
            with open(pidfile) as file:
                return int(file.read())
        except (OSError, ValueError):
            return 0

    until(lambda: new_master() not in (0, master), 20, what="the new master runs")
    found = new_master()
    os.kill(master, signal.SIGWINCH)
    time.sleep(0.3)
    os.kill(master, signal.SIGQUIT)
    return found


@pytest.mark.parametrize("name", ["bullseye", "trixie", "sid", "plain"])
@pytest.mark.parametrize("tls,http2", [(False, False), (True, True)], ids=["plain", "http2"])
def test_other_builds_are_counted_as_exactly(keep, database, figure, name, tls, http2):
    """Other versions, other compilers, without PIE, other modules: other layouts."""
    other = build(name)
    registry = keep(Registry(user=USER)).start()
    asks = with_password(mix(fill(registry)))
    nginx = keep(Nginx(registry.port, tls, http2, binary=other.binary, chroot=other.chroot,
                       server=PLAIN)).start()
    agent = keep(Agent(database.conninfo(), nginx.binary)).start()
    wanted = REQUESTS // 16
    load.curl(nginx, curl_asks(asks, wanted, 1), parallel=16, http2=http2)
    nginx.reload()
    load.curl(nginx, curl_asks(asks, wanted // 3, 2), parallel=16, http2=http2, check=False)
    logged, truth = books.check_front_end(database, nginx, agent)
    assert len(logged) >= wanted and truth.pulls > wanted / 8
    figure(f"nginx, build {name}", "nginx", protocol(tls, http2), len(logged), "exact")


@pytest.mark.parametrize("name", ["trixie", "sid"])
def test_http3_is_counted_as_exactly(keep, database, folder, figure, name):
    """With its clients' headers, and HTTP/1.1 and HTTP/2 beside it."""
    other, http3 = build(name), curl_http3()
    if not http3:
        if CI:
            pytest.fail("trixie's curl is wanted")
        pytest.skip("a curl with HTTP/3 could not be had here")
    registry = keep(Registry(user=USER)).start()
    asks = with_password(mix(fill(registry)))
    nginx = keep(Nginx(registry.port, True, True, binary=other.binary, chroot=other.chroot,
                       server=PLAIN, http3=True)).start()
    agent = keep(Agent(database.conninfo(), nginx.binary, arguments=[
        "--rules", folder.write("rules", "exclude scanner user-agent=trivy*\n")])).start()
    load.curl(nginx, curl_asks(asks, 1000, 1), parallel=8, http3=http3)
    load.curl(nginx, curl_asks(asks, 200, 2), http2=True)
    load.curl(nginx, curl_asks(asks, 200, 3))
    nginx.settle()
    method, path, headers = asks[0]
    load.curl(nginx, [load.Ask(method, path, None, (("User-Agent", "trivy/0.50"),
                                                    *headers.items()))] * 10, http3=http3)
    nginx.settle()
    agent.stop()
    logged = nginx.requests()
    truth = SentTruth().feed(logged[:1400])
    books.check(database, truth, hits=1410)
    assert [r.status for r in logged[1400:]] == [200] * 10
    statuses = collections.Counter(r.status for r in logged if r.proto == "HTTP/3.0")
    assert all(statuses[status] for status in (200, 206, 304, 401, 404)), statuses
    assert books.counter(database, "filtered_excluded") == 10
    assert collections.Counter(r.proto for r in logged) == {
        "HTTP/3.0": 1010, "HTTP/2.0": 200, "HTTP/1.1": 200}
    figure(f"nginx, HTTP/3 ({name})", "nginx", "HTTP/3", 1010, "exact")


def spoiled(folder, *texts, binary=None):
    """A copy of nginx in which texts, with the end of each, are other ones."""
    with open(binary or installed(), "rb") as file:
        content = file.read()
    for text in texts:
        old = text.encode() + b"\0"
        assert old in content
        content = content.replace(old, old[:-2] + b"~\0")
    path = folder.write("nginx", content)
    os.chmod(path, 0o755)
    return path


@pytest.mark.parametrize("name, text", [("installed", "query_string"), ("plain", "request_uri")])
@pytest.mark.parametrize("tls,http2", [(False, False), (True, True)], ids=["plain", "http2"])
def test_a_layout_that_nothing_tells_is_learned_and_counts_as_exactly(keep, database, folder, figure,
                                                                      name, text, tls, http2):
    """Two requests do it; they and those beside them are in the books as lost."""
    binary = None if name == "installed" else build(name).binary
    registry = keep(Registry(user=USER)).start()
    asks = with_password(mix(fill(registry)))
    nginx = keep(Nginx(registry.port, tls, http2, binary=spoiled(folder, text, binary=binary),
                       server=PLAIN, uri="$request")).start()
    agent = keep(Agent(database.conninfo(), nginx.binary)).start()
    while not agent.events("layout learned from requests"):
        load.curl(nginx, [load.ask("GET", "/v2/")], http2=http2)
        assert lines(nginx) < 20
        time.sleep(0.2)
    mark = nginx.mark()
    taken = len(nginx.requests())
    load.curl(nginx, curl_asks(asks, 1000, 1), parallel=16, http2=http2)
    nginx.settle()
    agent.stop()
    truth = SentTruth().feed(nginx.requests(mark))
    assert not truth.differences(database.tags("test"), database.manifests("test"))
    assert truth.pulls > 100
    assert books.counter(database, "seen") == taken + 1000
    losses = database.rows("select reason, sum(count)::int as count from pulltap.losses group by 1")
    assert losses == [{"reason": "lost_learning", "count": taken}]
    figure(f"nginx, layout learned ({name})", "nginx", "HTTP/2" if http2 else "HTTP/1.1", 1000,
           f"exact behind {taken}")


def test_a_build_without_the_exported_function_is_refused(keep, database, folder):
    nginx = keep(Nginx(1, binary=spoiled(folder, "ngx_http_free_request"),
                       server="location / { return 200; }")).start()
    agent = keep(Agent(database.conninfo(), nginx.binary)).start()
    load.curl(nginx, [load.ask("GET", "/v2/a/manifests/t")] * 20)
    agent.stop()
    event, = agent.events("target can't be observed")
    assert "not exported by this build of nginx" in event["reason"]
    assert database.tags("test") == []
    assert database.value("select coalesce(sum(seen), 0) as sum from pulltap.windows") == 0


def test_without_tables_a_known_layout_counts_as_exactly(keep, database, folder, figure):
    registry = keep(Registry(user=USER)).start()
    asks = with_password(mix(fill(registry)))
    nginx = keep(Nginx(registry.port, binary=spoiled(folder, "request_uri"), server=PLAIN,
                       uri="$request")).start()
    agent = keep(Agent(database.conninfo(), nginx.binary)).start()
    load.curl(nginx, curl_asks(asks, 1000, 1), parallel=16)
    logged, truth = books.check_front_end(database, nginx, agent)
    assert len(logged) == 1000 and truth.pulls > 100
    figure("nginx, layout of a table", "nginx", protocol(False, False), len(logged), "exact")
