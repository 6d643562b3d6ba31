# SPDX-License-Identifier: MIT
"""
Ten thousand requests against a real docker-registry, in every way it serves: each total of each
tag and manifest in PostgreSQL equals the registry's own access log, to the unit.
"""
import collections
import random
import time

import pytest

from lib import books, load
from lib.agent import Agent
from lib.images import Image
from lib.registry import Registry
from lib.truth import Truth

pytestmark = pytest.mark.needs_pulltap

USER = ("reader", "secret")
REPOSITORIES, TAGS, REQUESTS = 50, 4, 10000


def fill(registry):
    """50 repositories of 4 tags and 3 manifests; names of many depths, shared digests."""
    connection = registry.connect()
    for number in range(REPOSITORIES):
        repository = ("team-%02d/" % (number % 7)) * (number % 3) + f"app.{number}_x"
        images = [Image(f"shared {version}" if number % 5 == 0 else f"{number} {version}")
                  for version in range(TAGS - 1)]
        registry.push(images[0], repository, "v1", "latest", connection=connection)
        registry.push(images[1], repository, "v2", connection=connection)
        registry.push(images[2], repository, "2026-01-01_build.7-RC", connection=connection)
    connection.close()
    names = registry.names()
    assert len(names) == REPOSITORIES * TAGS
    return names


def asks(names, number, user):
    """A shuffled mix; some tags are far more popular than others."""
    random.seed(7)
    every = sorted(names.items())
    weights = [1 / (rank + 1) for rank in range(len(every))]
    random.shuffle(every)
    made = []
    for (repository, tag), digest in random.choices(every, weights, k=number):
        by_tag, by_digest = f"/v2/{repository}/manifests/{tag}", \
            f"/v2/{repository}/manifests/{digest}"
        kind = random.random()
        if kind < 0.38:
            made.append(load.ask("GET", by_tag, user))
        elif kind < 0.58:
            made.append(load.ask("HEAD", by_tag, user))
        elif kind < 0.70:
            made.append(load.ask("GET", by_digest, user))
        elif kind < 0.78:
            made.append(load.ask("HEAD", by_digest, user))
        elif kind < 0.82:
            made.append(load.ask("GET", by_tag, user, If_None_Match=f'"{digest}"'))
        elif kind < 0.85:
            made.append(load.ask("GET", by_digest, user, If_None_Match=f'"{digest}"'))
        elif kind < 0.90:
            made.append(load.ask(random.choice(("GET", "HEAD")), by_tag + "-absent", user))
        elif kind < 0.93:
            made.append(load.ask("GET", by_tag + "?ns=registry.example", user))
        elif kind < 0.95:
            made.append(load.ask("GET", f"/v2/{repository}/tags/list", user))
        elif kind < 0.97:
            made.append(load.ask("GET", f"/v2/{repository}/blobs/{digest}", user))
        else:
            made.append(load.ask("GET", by_tag, None))  # 401 where a password is wanted
    # whatever chance did, every tag is asked for
    made[:len(every)] = [load.ask("GET", f"/v2/{repository}/manifests/{tag}", user)
                         for (repository, tag), _ in every]
    random.shuffle(made)
    return made


@pytest.mark.parametrize("tls,http2,user", [
    pytest.param(False, False, None, id="plain"),
    pytest.param(True, False, USER, id="tls-http1-htpasswd"),
    pytest.param(True, True, None, id="tls-http2"),
    pytest.param(False, False, USER, id="plain-htpasswd"),
    pytest.param(True, True, USER, id="tls-http2-htpasswd"),
])
def test_totals_equal_the_access_log(keep, database, tls, http2, user):
    registry = keep(Registry(tls=tls, user=user)).start()
    names = fill(registry)
    since = registry.mark()
    agent = keep(Agent(database.conninfo(), registry.pid)).start()

    got = load.curl(registry, asks(names, REQUESTS, user), parallel=32, http2=http2)
    registry.settle()
    agent.stop()

    logged = registry.requests(since)
    assert len(logged) == len(got) == REQUESTS
    assert (collections.Counter((r.method, r.uri, r.status) for r in logged) ==
            collections.Counter((g.method, g.path, g.status) for g in got))
    assert {r.proto for r in logged} == {"HTTP/2.0" if http2 else "HTTP/1.1"}
    truth = Truth(names).feed(logged)
    assert len(truth.tags) == REPOSITORIES * TAGS
    assert truth.statuses["GET", 404] and truth.statuses["GET", 304]
    assert bool(truth.statuses["GET", 401]) == bool(user)
    books.check(database, truth, hits=REQUESTS)
    # the digest of each tag is the one that was pushed
    stored = {(row["repository"], row["tag"]): row["digest"] for row in database.tags("test")}
    assert stored == names


def test_what_happened_before_and_after_is_not_counted(keep, database):
    registry = keep(Registry()).start()
    digest = registry.push(Image("one"), "a", "t")
    get = [load.ask("GET", "/v2/a/manifests/t")] * 10
    load.curl(registry, get)
    since = registry.mark()
    with Agent(database.conninfo(), registry.pid) as agent:
        load.curl(registry, get * 3)
        registry.settle()
        agent.stop()
    counted = registry.requests(since)
    load.curl(registry, get)
    registry.settle()
    assert len(counted) == 30
    books.check(database, Truth({("a", "t"): digest}).feed(counted), hits=30)


def test_switched_off_agent_goes_on_counting_after_sigterm(keep, database):
    """Between one agent's SIGTERM and the next one's start nothing is missed."""
    registry = keep(Registry()).start()
    digest = registry.push(Image("one"), "a", "t")
    get = [load.ask("GET", "/v2/a/manifests/t")] * 50
    since = registry.mark()
    agent = keep(Agent(database.conninfo(), registry.pid)).start()
    for _ in range(3):
        load.curl(registry, get)
        agent.pause()
        assert agent.pinned(), "the programs must stay pinned"
        load.curl(registry, get)
        agent.start()
    load.curl(registry, get)
    registry.settle()
    agent.stop()
    logged = registry.requests(since)
    assert len(logged) == 350
    books.check(database, Truth({("a", "t"): digest}).feed(logged), hits=350)


def test_pushes_and_deletes_are_no_pulls(keep, database):
    registry = keep(Registry()).start()
    agent = keep(Agent(database.conninfo(), registry.pid)).start()
    first, second = Image("first"), Image("second")
    registry.push(first, "a/b", "t")
    time.sleep(1.1)  # times are whole seconds: of two pushes within one, neither is the later
    registry.push(second, "a/b", "t", "u")
    connection = registry.connect()
    registry.ask(connection, "GET", "/v2/a/b/manifests/t")
    registry.ask(connection, "DELETE", f"/v2/a/b/manifests/{first.digest}")
    connection.close()
    registry.settle()
    agent.stop()
    truth = Truth({("a/b", "t"): second.digest}).feed(registry.requests())
    books.check(database, truth)
    assert truth.pulls == 1
    rows = database.rows("select tag, digest, pushes from pulltap.tags order by tag")
    assert rows == [{"tag": "t", "digest": second.digest, "pushes": 2},
                    {"tag": "u", "digest": second.digest, "pushes": 1}]
    history = database.rows("select digest, is_current from pulltap.tag_history "
                            "where tag = 't' order by valid_from")
    assert history[-1] == {"digest": second.digest, "is_current": True}
