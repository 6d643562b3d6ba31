# SPDX-License-Identifier: MIT
"""
Several programs of one node see the same pull: nginx and the docker-registry behind it, both named
as targets. Each pull counts at one place, from the first one on, whoever starts, ends or restarts
when; what is counted there equals that place's own log.
"""
import http.client
import os
import re
import secrets

import pytest

from lib import books, load
from lib.agent import Agent, pulltap
from lib.apache import Apache
from lib.haproxy import Haproxy
from lib.images import ACCEPT
from lib.nginx import Nginx, installed
from lib.proc import CI, run, until
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
def test_a_pull_through_nginx_counts_at_the_registry_once(keep, database, figure, first):
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
    figure(f"nginx and docker-registry, {first} first", "both", "HTTP/1.1", len(logged),
           "each counted once")


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


def test_a_registry_that_restarts_under_load_leaves_nothing_twice(keep, database, figure):
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
    figure("nginx and docker-registry, 4 restarts", "both", "HTTP/1.1", len(logged),
           "each counted once")


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
    # an agent that starts now knows nothing of who ran when, and takes nobody for a registry
    agent.pause()
    agent.start()
    ask(nginx, names)
    nginx.settle()
    front.feed(nginx.requests(since))
    # and back, at once
    remote.stop()
    since = local.mark()
    local.start()
    until(lambda: len(agent.events("target attached")) == 1, 10, what="the registry is probed")
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
    books.check_front_end(database, nginx, agent)
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


@pytest.mark.parametrize("make, way", [(Apache, ""), (Haproxy, "openssl:")],
                         ids=["apache", "haproxy"])
def test_of_front_ends_of_several_kinds_the_innermost_counts(keep, database, figure, make, way):
    """Before nginx and a registry, and, where that is another node's, before nginx alone."""
    registry = filled(keep)
    names = registry.names()
    nginx = keep(Nginx(registry.port)).start()
    outer = keep(make(nginx.port)).start()
    targets = ["--target", f"near={nginx.binary}", "--target", f"outer={way}{outer.binary}",
               "--target", f"test={registry.binary}"]
    agent = keep(Agent(database.conninfo(), arguments=targets)).start()
    since = registry.mark()
    ask(outer, names)
    registry.settle()
    until(lambda: {("outer", "near"), ("near", "test")} <= {link[:2] for link in ends(look(agent))},
          60, what="both links are seen")
    assert agent.status()["trouble"] == []
    agent.stop()
    logged = registry.requests(since)
    books.check(database, Truth(names).feed(logged))
    assert database.manifests("outer") == database.manifests("near") == []
    figure(f"{make.__name__}, nginx and docker-registry", "all", "HTTP/1.1", len(logged),
           "each counted once")
    for word in targets[-2:]:
        del agent.arguments[len(agent.arguments) - 1 - agent.arguments[::-1].index(word)]
    agent.start()
    passed = nginx.mark()
    ask(outer, names)
    nginx.settle()
    agent.stop()
    truth = SentTruth().feed(nginx.requests(passed))
    assert truth.pulls > 10
    books.check(database, truth, registry="near")
    assert database.manifests("outer") == []


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


def look(agent):
    """The agent's own words about who talks to whom, as soon as it has some."""
    path = os.path.join(agent.state, "status.json")
    until(lambda: os.path.exists(path) and agent.status_file()["topology"]["links"], 60,
          what="the agent sees who talks")
    return agent.status_file()["topology"]


def ends(topology):
    """[(registry, registry or None, address)] of the links."""
    programs = topology["programs"]
    return sorted((programs[link["from"]]["registry"],
                   link["to"] is not None and programs[link["to"]]["registry"], link["address"])
                  for link in topology["links"])


def doctor(agent, database):
    return pulltap("doctor", "--bpffs", agent.bpffs, "--state-dir", agent.state, "--database",
                   database.conninfo(), check=False).stdout


def test_who_talks_to_whom_is_named(keep, database):
    """nginx keeps its connections to the registry; that one's own talks to nobody."""
    registry = filled(keep)
    inner, outer = chain(keep, registry)
    agent = watch(keep, database, ("outer", outer), ("inner", inner), ("hub", registry)).start()
    ask(outer, registry.names())
    until(lambda: len(look(agent)["links"]) == 2, 60, what="both links are seen")
    topology = look(agent)
    assert ends(topology) == [("inner", "hub", registry.host), ("outer", "inner", inner.host)]
    assert {program["registry"]: (program["place"], program["counts"], program["behind"])
            for program in topology["programs"]} == {
                "hub": ("registry", True, False), "inner": ("front end", False, True),
                "outer": ("front end", False, True)}
    said = doctor(agent, database)
    assert f"(nginx, pid {inner.pid}) talks to registry hub (docker-registry, pid " \
        f"{registry.pid}) at {registry.host}" in said
    assert "front end outer (nginx, pid" in said and "docker-registry" in said
    # one place counts: nothing that a person has to see to
    assert agent.status()["trouble"] == []
    agent.stop()


def test_two_places_that_count_and_talk_are_trouble(keep, database):
    registry = filled(keep)
    nginx = keep(Nginx(registry.port)).start()
    agent = watch(keep, database, ("front", nginx), ("hub", registry), count_at=["both"]).start()
    ask(nginx, registry.names())
    look(agent)
    trouble, = agent.status()["trouble"]
    assert "front end front (nginx, pid" in trouble["what"] and "both count" in trouble["what"]
    assert trouble["what"] in doctor(agent, database)
    agent.stop()


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_a_front_end_of_another_registry_that_does_not_count_is_named(keep, database, unix):
    """A registry of this node counts, so nginx does not, although it stands before another one."""
    registry, remote = filled(keep), filled(keep)
    where = remote.host
    if unix:
        where = move_to_unix(remote)
    nginx = keep(Nginx(1, http=f"upstream other {{ server {where}; keepalive 8; }}",
                       server="location / { proxy_pass http://other; }")).start()
    agent = watch(keep, database, ("hub", registry), ("edge", nginx)).start()
    ask(nginx, remote.names())
    assert ends(look(agent)) == [("edge", False, where)]
    trouble, = agent.status()["trouble"]
    assert "front end edge (nginx, pid" in trouble["what"]
    assert f"was seen to talk to {where} and to none of them" in trouble["what"]
    assert "--count-at=edge" in trouble["advice"]
    assert "which is none of them" in doctor(agent, database)
    agent.pause()
    agent.arguments.append("--count-at=edge")
    agent.start()
    since = nginx.mark()
    ask(nginx, remote.names())
    nginx.settle()
    agent.stop()
    books.check(database, SentTruth().feed(nginx.requests(since)), registry="edge")


def move_to_unix(registry):
    """Starts it anew, on a unix socket; returns nginx's word for that."""
    registry.stop()
    path = registry.folder / "registry.sock"
    registry.environment.update(REGISTRY_HTTP_NET="unix", REGISTRY_HTTP_ADDR=path)
    registry.start(lambda: os.path.exists(path))
    return f"unix:{path}"


def test_a_registry_in_another_namespace_may_be_behind_a_published_port(keep, database, network):
    """Whatever stands on the way, here an nginx that nobody named: sockets do not show who that is."""
    name, _, there = network
    inside = filled(keep)
    inside.stop()
    inside.move(there, ["ip", "netns", "exec", name])
    inside.start(lambda: run(["curl", "-sf", inside.url + "/v2/"], check=False).returncode == 0)
    published = keep(Nginx(1, server=f"location / {{ proxy_pass {inside.url}; }}")).start()
    nginx = keep(Nginx(published.port)).start()
    agent = watch(keep, database, ("front", nginx), ("test", inside)).start()
    since = inside.mark()
    ask(nginx, inside.names())
    inside.settle()
    assert ends(look(agent)) == [("front", False, f"127.0.0.1:{published.port}")]
    assert agent.status()["trouble"] == []
    assert "and sockets do not show who that is" in doctor(agent, database)
    agent.stop()
    books.check(database, Truth(inside.names()).feed(inside.requests(since)))
    assert database.manifests("front") == []


def test_a_registry_behind_a_unix_socket_counts_once_and_is_named(keep, database):
    registry = filled(keep)
    names = registry.names()
    where = move_to_unix(registry)
    nginx = keep(Nginx(1, http=f"upstream hub {{ server {where}; keepalive 8; }}",
                       server="location / { proxy_pass http://hub; }")).start()
    agent = watch(keep, database, ("front", nginx), ("test", registry)).start()
    since = registry.mark()
    ask(nginx, names)
    registry.settle()
    assert ends(look(agent)) == [("front", "test", where)]
    assert "is asked over a unix socket, which has no address" in doctor(agent, database)
    agent.stop()
    logged = registry.requests(since)
    assert len(logged) == 80
    books.check(database, Truth(names).feed(logged))
    assert database.manifests("front") == []


@pytest.fixture
def network(keep):
    """A network namespace at the other end of a cable; (name, this end's and that end's address)."""
    number = secrets.randbelow(200) + 20
    name, here, there = f"pt{os.getpid()}", f"10.213.{number}.1", f"10.213.{number}.2"
    script = (f"ip netns add {name} && ip link add {name}a type veth peer name {name}b netns {name}"
              f" && ip address add {here}/24 dev {name}a && ip link set {name}a up"
              f" && ip -n {name} address add {there}/24 dev {name}b"
              f" && ip -n {name} link set {name}b up && ip -n {name} link set lo up")
    done = run(["sh", "-c", script], check=False)
    if done.returncode:
        run(["ip", "netns", "delete", name], check=False)
        if CI:
            pytest.fail(f"no network namespace can be made here: {done.stderr}")
        pytest.skip(f"no network namespace can be made here: {done.stderr}")
    yield name, here, there
    run(["ip", "netns", "delete", name], check=False)


def test_a_registry_in_another_network_namespace_counts_once_and_is_named(keep, database, network):
    name, here, there = network
    registry = filled(keep)
    names = registry.names()
    inside = keep(Registry(storage=registry.storage))
    inside.move(there, ["ip", "netns", "exec", name])
    nginx = keep(Nginx(1, http=f"upstream hub {{ server {inside.host}; keepalive 8; }}",
                       server="location / { proxy_pass http://hub; }")).start()
    agent = watch(keep, database, ("front", nginx), ("test", inside)).start()
    inside.start(lambda: run(["curl", "-sf", inside.url + "/v2/"], check=False).returncode == 0)
    until(lambda: agent.events("target attached")[-1]["registry"] == "test", 20,
          what="the registry is probed")
    since = inside.mark()
    ask(nginx, names)
    inside.settle()
    assert ends(look(agent)) == [("front", "test", inside.host)]
    link, = look(agent)["links"]
    assert link["client"] == here and not link["trusted"]
    assert f"--trusted-proxy={here}" in doctor(agent, database)
    agent.stop()
    logged = inside.requests(since)
    assert len(logged) == 80
    books.check(database, Truth(names).feed(logged))
    assert database.manifests("front") == []


FORWARDED = """
location / {
	proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
	proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
	proxy_pass http://registry;
}
"""


def test_what_doctor_advises_lets_the_registry_know_its_clients(keep, database, folder):
    """
    A rule for one client and the HEADs and GETs of others, all through one nginx. A client that
    writes itself into the header gains nothing by it.
    """
    registry = filled(keep)
    (repository, tag), digest = sorted(registry.names().items())[0]
    nginx = keep(Nginx(registry.port, server=FORWARDED)).start()
    rules = folder.write("rules", "exclude scanner peer=127.0.0.9\n")
    agent = watch(keep, database, ("front", nginx), ("test", registry), hint=60)
    agent.arguments += ["--rules", rules]
    agent.start()
    ask_as(nginx, "127.0.0.9", "HEAD", repository, tag)
    look(agent)
    said = doctor(agent, database)
    assert "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;" in said
    advice = re.search(r"--trusted-proxy=\S+", said).group(0)
    assert advice == "--trusted-proxy=127.0.0.1"
    agent.pause()
    assert excluded(database) == 0, "without it the rule sees nginx alone"
    agent.arguments.append(advice)
    agent.start()
    for _ in range(3):
        ask_as(nginx, "127.0.0.9", "GET", repository, tag)  # the scanner
        ask_as(nginx, "127.0.0.9", "GET", repository, tag, "127.0.0.5")  # and its lie
        ask_as(nginx, "127.0.0.2", "HEAD", repository, tag)
        ask_as(nginx, "127.0.0.3", "GET", repository, digest)  # not the one who asked HEAD
        ask_as(nginx, "127.0.0.2", "GET", repository, digest)  # he is
    look(agent)
    assert "sees 127.0.0.1 as every client" not in doctor(agent, database)
    registry.settle()
    agent.stop()
    books.check_windows(database)
    assert excluded(database) == 6
    row, = [row for row in database.tags("test") if row["tag"] == tag]
    assert (row["repository"], row["pulls"], row["checks"]) == (repository, 3, 1)
    row, = [row for row in database.manifests("test") if row["digest"] == digest]
    assert row["pulls"] == 6


def ask_as(nginx, address, method, repository, reference, forwarded=None):
    connection = http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=30,
                                            source_address=(address, 0))
    headers = {"Accept": ACCEPT} | ({"X-Forwarded-For": forwarded} if forwarded else {})
    connection.request(method, f"/v2/{repository}/manifests/{reference}", headers=headers)
    reply = connection.getresponse()
    reply.read()
    connection.close()
    assert reply.status == 200


def excluded(database):
    return database.value("select coalesce(sum(excluded), 0) as sum from pulltap.rules")
