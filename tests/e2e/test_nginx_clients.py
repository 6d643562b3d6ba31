# SPDX-License-Identifier: MIT
"""
Who asks, where nginx alone is watched: kinds of client, rules by User-Agent and address, trusted
proxies before it, and an index's children, out of what its clients send. The truth is each client's
own log.
"""
import http.client

import pytest

from lib import books, load
from lib.agent import Agent
from lib.clients import client
from lib.crowd import Stock, crowd
from lib.forwarder import Forwarder
from lib.images import ACCEPT, DOCKER, Image
from lib.nginx import Nginx, build, installed
from lib.proc import CI
from lib.registry import Registry
from test_counting import relations
from test_counting_crowd import APPENDED, WAYS, check, forged

pytestmark = [pytest.mark.needs_pulltap,
              pytest.mark.skipif(not installed() and not CI, reason="nginx is not installed")]
PLATFORMS = ("linux/amd64", "linux/arm64")


@pytest.fixture
def registry(keep):
    return keep(Registry()).start()


@pytest.fixture
def nginx(keep, registry):
    return keep(Nginx(registry.port)).start()


def watch(keep, server, database, *arguments):
    return keep(Agent(database.conninfo(), server.binary, hint=300,
                      arguments=["--clients", *arguments])).start()


def finish(server, agent):
    server.settle()
    agent.stop()


def totals(database):
    row, = database.rows("select * from pulltap.tags")
    return row["pulls"], row["checks"], row["excluded"]


def test_64_clients_of_nginx_each_get_their_own(keep, registry, nginx, database):
    """What they claim to be in their headers changes nothing."""
    stock = Stock(registry)
    agent = watch(keep, nginx, database, "--trusted-proxy", "10.0.0.0/8")
    clients = crowd(stock, nginx.port, headers=forged)
    finish(nginx, agent)
    check(database, clients)


@pytest.mark.parametrize("way", WAYS)
def test_64_clients_behind_a_trusted_proxy_of_nginx_each_get_their_own(keep, registry, nginx,
                                                                       database, way):
    stock = Stock(registry)
    proxy = keep(Forwarder(nginx.port, WAYS[way], "127.0.2.1")).start()
    agent = watch(keep, nginx, database, "--trusted-proxy", "127.0.2.0/24")
    clients = crowd(stock, proxy.port, headers=forged)
    finish(nginx, agent)
    check(database, clients)


def test_two_proxies_with_rules_by_peer_and_agent(keep, registry, nginx, database, folder):
    stock = Stock(registry)
    inner = keep(Forwarder(nginx.port, APPENDED, "127.0.2.1")).start()
    outer = keep(Forwarder(inner.port, APPENDED, "127.0.2.2")).start()
    rules = folder.write("rules", "exclude net peer=127.0.1.32/28\n"
                                  "exclude agent user-agent=Buildah/*\n")
    agent = watch(keep, nginx, database, "--trusted-proxy", "127.0.2.1", "--trusted-proxy",
                  "127.0.2.2", "--rules", rules)
    clients = crowd(stock, outer.port, headers=forged)
    finish(nginx, agent)
    check(database, clients, lambda client: client.kind == "buildah"
          or 32 <= int(client.address.rsplit(".", 1)[1]) < 48)


def through(nginx, method, name, peer, headers):
    """One request through nginx from an address of loopback; headers: pairs, one may come again."""
    connection = http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=30,
                                            source_address=(peer, 0))
    connection.putrequest(method, f"/v2/team/app/manifests/{name}")
    for key, value in (("Accept", ACCEPT), *headers):
        connection.putheader(key, value)
    connection.endheaders()
    reply = connection.getresponse()
    reply.read()
    connection.close()
    assert reply.status == 200


@pytest.mark.parametrize("headers, taken", [
    ([("X-Forwarded-For", "127.0.1.1")], True),
    ([("x-FORWARDED-for", "9.9.9.9"), ("X-Forwarded-For", "127.0.1.1")], True),
    ([("X-Forwarded-For", "127.0.1.1"), ("X-Forwarded-For", "127.0.2.9")], True),
    ([("X-Forwarded-For", "127.0.1.1"), ("X-Forwarded-For", "9.9.9.9")], False),
    ([("X-Real-IP", "127.0.1.1"), ("X-Forwarded-For", "9.9.9.9")], False),
    ([("X-Real-IP", "127.0.1.1"), ("X-Forwarded-Foo", "9.9.9.9"), ("X_Forwarded_For", "9.9.9.9")],
     True),
    ([("Forwarded", "for=9.9.9.9"), ("Forwarded", 'For="127.0.1.1:4711"'),
      ("X-Real-IP", "9.9.9.9")], True),
    ([("X-Forwarded-For", "127.0.1.1")] + [("X-Forwarded-For", "127.0.2.9")] * 4, False),
    ([("X-Forwarded-For", "127.0.1.1, unknown")], False),
    ([(f"X-Junk-{i}", "x") for i in range(120)] + [("X-Forwarded-For", "127.0.1.1")], True),
    # more than are looked at: then nothing of it is believed
    ([("X-Forwarded-For", "127.0.1.1")] + [(f"X-Junk-{i}", "x") for i in range(200)], False),
])
def test_lines_of_a_trusted_proxy_are_taken_as_documented(keep, registry, nginx, database, headers,
                                                          taken):
    """A HEAD that leads to a GET from the client's own address: one pull if it was known."""
    image = Image("lines")
    registry.push(image, "team/app", "v1")
    agent = watch(keep, nginx, database, "--trusted-proxy", "127.0.2.0/24")
    through(nginx, "HEAD", "v1", "127.0.2.1", headers)
    through(nginx, "GET", image.digest, "127.0.1.1", [])
    finish(nginx, agent)
    assert totals(database)[:2] == ((1, 0) if taken else (0, 1))
    assert books.counter(database, "note_client_unread") == (len(headers) > 200)


def check_clients_are_known(keep, registry, database, folder, server, http2):
    """Rules by agent and by forwarded address, kinds of client, an index's children."""
    image = Image("builds", PLATFORMS)
    registry.push(image, "team/app", "v1")
    agent = watch(keep, server, database, "--trusted-proxy", "127.0.0.0/8", "--rules", folder.write(
        "rules", "exclude scanner user-agent=trivy*\nexclude far peer=203.0.113.0/24\n"))
    path, child = "/v2/team/app/manifests/", image.children[PLATFORMS[1]][0]
    for asks in ([load.ask("GET", path + "v1", User_Agent="trivy/0.50")] * 3,
                 [load.ask("GET", path + "v1", X_Forwarded_For="203.0.113.9")] * 4,
                 [load.ask("GET", path + "v1", User_Agent="skopeo/1.9")],
                 [load.ask("GET", path + child, User_Agent="skopeo/1.9")]):
        load.curl(server, asks, http2=http2)
    finish(server, agent)
    assert totals(database) == (1, 0, 7)
    assert {row["rule"]: row["excluded"] for row in database.rows("select * from pulltap.rules")} \
        == {"scanner": 3, "far": 4}
    assert [(row["client"], row["pulls"]) for row in
            database.rows("select * from pulltap.clients")] == [("skopeo", 2)]
    assert relations(database) == {("team/app", image.digest, child): 1}
    books.check_windows(database)
    assert books.counter(database, "note_client_unread") == 0


@pytest.mark.parametrize("name", ["installed", "bullseye", "trixie", "sid", "plain"])
@pytest.mark.parametrize("tls,http2", [(False, False), (True, True)], ids=["plain", "http2"])
def test_every_build_knows_its_clients(keep, registry, database, folder, name, tls, http2):
    binary = chroot = None
    if name != "installed":
        _, binary, chroot = build(name)
    nginx = keep(Nginx(registry.port, tls, http2, binary=binary, chroot=chroot)).start()
    check_clients_are_known(keep, registry, database, folder, nginx, http2)


@pytest.mark.parametrize("name", ["docker", "containerd", "podman", "skopeo", "buildah"])
def test_real_client_of_nginx_is_known_and_teaches_the_children(keep, registry, nginx, database,
                                                                name):
    single, many = Image("single", types=DOCKER), Image("many", PLATFORMS)
    registry.push(single, "team/app", "v1")
    registry.push(many, "team/many", "v1")
    agent = watch(keep, nginx, database)
    one = keep(client(name, nginx))
    one.pull(nginx, "team/app", "v1")
    one.pull(nginx, "team/many", "v1")
    finish(nginx, agent)
    found = {(row["repository"], row["tag"]): (row["pulls"], row["checks"])
             for row in database.rows("select * from pulltap.tags where pulls + checks > 0")}
    assert found == {("team/app", "v1"): (1, 0), ("team/many", "v1"): (1, 0)}
    clients = {row["client"] for row in database.rows("select * from pulltap.clients")}
    assert clients == {name}
    assert relations(database) == {
        ("team/many", many.digest, many.children[PLATFORMS[0]][0]): 1}
    books.check_windows(database)
