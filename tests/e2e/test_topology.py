# SPDX-License-Identifier: MIT
"""
Several programs of one node see the same pull: nginx and the docker-registry behind it, both named
as targets. Each pull counts at one place, from the first one on, whoever starts, ends or restarts
when; what is counted there equals that place's own log.
"""
import http.client

import pytest

from lib import books, load
from lib.agent import Agent
from lib.images import Image
from lib.nginx import Nginx, installed
from lib.proc import CI, until
from lib.registry import Registry
from lib.truth import SentTruth, Truth

pytestmark = [pytest.mark.needs_pulltap,
              pytest.mark.skipif(not installed() and not CI, reason="nginx is not installed")]


def filled(keep, **arguments):
    registry = keep(Registry(**arguments)).start()
    registry.fill(4, repositories=2)
    return registry


def watch(keep, database, *targets, count_at=(), **arguments):
    """An agent of targets (name, thing with a binary), in this order."""
    named = [word for name, what in targets for word in ("--target", f"{name}={what.binary}")]
    where = [f"--count-at={word}" for word in count_at]
    return keep(Agent(database.conninfo(), arguments=named + where, **arguments))


def ask(front, names, rounds=5):
    """Everything that may be asked of names, through front."""
    return load.curl(front, load.mixed(names) * rounds)


@pytest.mark.parametrize("first", ["nginx", "registry"])
def test_a_pull_through_nginx_counts_at_the_registry_once(keep, database, first):
    """Whichever was named, started and probed first."""
    registry = filled(keep)
    names = registry.names()
    since = registry.mark()
    nginx = keep(Nginx(registry.port))
    agent = watch(keep, database, *[("front", nginx), ("test", registry)][::
                                    1 if first == "nginx" else -1])
    if first == "nginx":
        registry.stop()
        since = registry.mark()
        nginx.start()
        agent.start()
        registry.start()
    else:
        agent.start()
        nginx.start()
        agent.wait_log("target does not count: its pulls are counted elsewhere on this node")
    until(lambda: "test" in [event["registry"] for event in agent.events("target attached")], 20,
          what="the registry is probed")
    ask(nginx, names)
    registry.settle()
    nginx.settle()
    agent.stop()
    asked = [request for request in nginx.requests() if request.status != 502]
    logged = registry.requests(since)
    assert len(asked) == len(logged) == 4 * 4 * 5
    books.check(database, Truth(names).feed(logged))
    assert SentTruth().feed(asked).pulls == Truth(names).feed(logged).pulls
    assert database.manifests("front") == [] and database.tags("front") == []


def test_pulls_of_an_agent_that_finds_both_count_once_from_the_first_on(keep, database):
    """Load runs while they are found, and while agents replace each other."""
    registry = filled(keep)
    names = registry.names()
    nginx = keep(Nginx(registry.port)).start()
    agent = watch(keep, database, ("front", nginx), ("test", registry))
    agent.start()
    since = registry.mark()
    with load.Trickle(Through(nginx, registry), load.mixed(names), rate=300) as trickle:
        for how in (agent.pause, agent.kill, agent.pause):
            until(lambda seen=trickle.sent: trickle.sent > seen + 100, 30, what="pulls go on")
            how()
            agent.start()
    registry.settle()
    agent.stop()
    logged = registry.requests(since)
    assert len(logged) > 300
    books.check(database, Truth(names).feed(logged))
    assert database.manifests("front") == []


class Through:
    """nginx, as the trickle's registry."""

    def __init__(self, nginx, registry):
        self.nginx, self.registry = nginx, registry

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.nginx.port, timeout=30)

    def headers(self, path=None, **more):
        return self.registry.headers(path, **more)


def test_a_registry_that_restarts_under_load_leaves_nothing_twice(keep, database):
    # it answers what it was asked, and logs it, before it ends
    registry = filled(keep, environment={"REGISTRY_HTTP_DRAINTIMEOUT": "10s"})
    names = registry.names()
    nginx = keep(Nginx(registry.port)).start()
    agent = watch(keep, database, ("front", nginx), ("test", registry)).start()
    since = registry.mark()
    with load.Trickle(Through(nginx, registry), load.mixed(names), rate=300) as trickle:
        for _ in range(4):
            until(lambda seen=trickle.sent: trickle.sent > seen + 60, 30, what="pulls go on")
            assert registry.process.stop() == 0
            until(lambda seen=trickle.sent: trickle.sent > seen + 30, 30, what="pulls go on")
            registry.start()
    registry.settle()
    nginx.settle()
    agent.stop()
    logged = registry.requests(since)
    assert {502, 200} <= {request.status for request in nginx.requests()}
    books.check(database, Truth(names).feed(logged))
    assert database.manifests("front") == []


@pytest.mark.parametrize("count_at, counts", [
    (["inner"], {"inner"}), (["front"], {"front"}), (["both"], {"inner", "front"}),
    (["front-end"], {"inner", "front"}), (["front", "hub"], {"inner", "front"}),
], ids="+".join)
def test_where_a_pull_counts_can_be_chosen(keep, database, count_at, counts):
    registry = filled(keep)
    names = registry.names()
    nginx = keep(Nginx(registry.port)).start()
    agent = watch(keep, database, ("hub", registry), ("front-end", nginx),
                  count_at=count_at).start()
    since = registry.mark()
    ask(nginx, names)
    registry.settle()
    nginx.settle()
    agent.stop()
    inner, front = Truth(names).feed(registry.requests(since)), SentTruth().feed(nginx.requests())
    assert inner.pulls == front.pulls > 0
    for name, place, truth in (("hub", "inner", inner), ("front-end", "front", front)):
        if place in counts:
            assert truth.differences(database.tags(name), database.manifests(name)) == []
        else:
            assert database.manifests(name) == [] and database.tags(name) == []
    books.check_windows(database)


@pytest.mark.parametrize("words, says", [
    (["iner"], '"iner" is neither inner, front or both nor the NAME of a --target'),
    (["inner", "both"], "inner and both contradict each other: give one of them"),
])
def test_a_place_that_is_none_is_refused(keep, words, says):
    agent = keep(Agent("host=/nonexistent", arguments=[f"--count-at={word}" for word in words],
                       wait_ready=False))
    agent.start()
    assert agent.process.wait(60) == 1
    assert says in agent.log()


def test_the_front_end_counts_while_no_registry_of_the_node_does(keep, database):
    """
    Its upstream is nobody's target at first (a remote one would look the same), then a registry that
    is, then again one that is not. Nothing twice, and nothing is left out once the log says so.
    """
    remote = filled(keep)
    names = remote.names()
    local = keep(Registry(storage=remote.storage, port=remote.port))
    nginx = keep(Nginx(remote.port)).start()
    agent = watch(keep, database, ("test", local), ("front", nginx)).start()
    ask(nginx, names)
    nginx.settle()
    front = SentTruth().feed(nginx.requests())
    remote.stop()
    local.start()
    agent.wait_log("target stops counting: its pulls are counted elsewhere on this node")
    until(lambda: len(agent.events("target attached")) == 2, 10, what="the registry is probed")
    ask(nginx, names)
    local.settle()
    inner = Truth(names).feed(local.requests())
    local.stop()
    agent.wait_log("target counts from now on: no other place of this node does", 150)
    until(lambda: len(agent.events("target attached")) == 3, 10, what="nginx is probed again")
    since = nginx.mark()
    remote.start()
    ask(nginx, names)
    nginx.settle()
    front.feed(nginx.requests(since))
    # and back, at once
    remote.stop()
    since = local.mark()
    local.start()
    until(lambda: len(agent.events("target attached")) == 4, 10, what="the registry is probed")
    ask(nginx, names)
    local.settle()
    agent.stop()
    books.check(database, inner.feed(local.requests(since)))
    books.check(database, front, registry="front")
    # what counted elsewhere is no gap in the books
    assert database.rows("select * from pulltap.gaps where registry = 'front'") == []


def test_an_nginx_before_two_remote_registries_counts_both(keep, database):
    """As two nginx of one file would: all of a file is one target."""
    remotes = [filled(keep) for _ in range(2)]
    names = remotes[0].names()
    second = f"127.0.0.1:{remotes[1].port}"
    nginx = keep(Nginx(remotes[0].port, server=(
        "location / { proxy_pass http://registry; } "
        f"location /v2/r/1/ {{ proxy_pass http://{second}; }}"))).start()
    agent = watch(keep, database, ("test", nginx)).start()
    before = [remote.mark() for remote in remotes]
    ask(nginx, names)
    truth = Truth(names)
    for remote, since in zip(remotes, before):
        remote.settle()
        asked = remote.requests(since)
        assert len(asked) > 10
        truth.feed(asked)
    books.check_nginx(database, nginx, agent)
    books.check(database, truth)


def chain(keep, registry):
    inner = keep(Nginx(registry.port)).start()
    return inner, keep(Nginx(inner.port)).start()


def test_of_a_chain_the_innermost_counts(keep, database):
    registry = filled(keep)
    names = registry.names()
    inner, outer = chain(keep, registry)
    agent = watch(keep, database, ("outer", outer), ("inner", inner), ("test", registry)).start()
    since = registry.mark()
    ask(outer, names)
    registry.settle()
    agent.stop()
    books.check(database, Truth(names).feed(registry.requests(since)))
    assert database.manifests("outer") == database.manifests("inner") == []


@pytest.mark.parametrize("count_at", [[], ["front"], ["inner"], ["outer"]], ids=str)
def test_of_a_chain_of_front_ends_one_counts(keep, database, count_at):
    """Sockets don't show it before the first pull: the first that is named, or whom --count-at names."""
    registry = filled(keep)
    names = registry.names()
    inner, outer = chain(keep, registry)
    agent = watch(keep, database, ("near", inner), ("outer", outer), count_at=count_at).start()
    ask(outer, names)
    inner.settle()
    outer.settle()
    agent.stop()
    counts, silent = ("outer", "near") if count_at == ["outer"] else ("near", "outer")
    truth = SentTruth().feed((outer if counts == "outer" else inner).requests())
    assert truth.pulls > 0
    books.check(database, truth, registry=counts)
    assert database.manifests(silent) == []
