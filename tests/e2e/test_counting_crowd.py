# SPDX-License-Identifier: MIT
"""
64 clients at once, directly and behind nginx: every HEAD and GET is attributed to its own client,
whatever the others ask for at the same time. The truth is each client's own log.
"""
import pytest

from lib import books
from lib.agent import Agent
from lib.crowd import Stock, Totals, crowd
from lib.forwarder import Forwarder
from lib.images import Image
from lib.registry import Registry

pytestmark = pytest.mark.needs_pulltap

APPENDED = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
# how a proxy says who asks; what clients send of it themselves goes or is appended to
WAYS = {
    "x-forwarded-for": APPENDED,
    "forwarded": 'proxy_set_header X-Forwarded-For "";\n'
                 'proxy_set_header Forwarded "for=\\"$remote_addr:99\\";proto=http";',
    "x-real-ip": 'proxy_set_header X-Forwarded-For "";\nproxy_set_header Forwarded "";\n'
                 "proxy_set_header X-Real-IP $remote_addr;",
}


@pytest.fixture
def registry(keep):
    return keep(Registry()).start()


def forged(client):
    """Each client claims to be its neighbour, in every header."""
    number = int(client.address.rsplit(".", 1)[1])
    other = f"127.0.1.{number % 64 + 1}"
    return {"X-Forwarded-For": other, "Forwarded": f"for={other}", "X-Real-IP": other}


def watch(keep, registry, database, *arguments):
    return keep(Agent(database.conninfo(), registry.pid, hint=300,
                      arguments=["--clients", *arguments])).start()


def counts(rows, *names):
    return {tuple(row[name] for name in names): (row["pulls"], row["checks"]) for row in rows}


def check(database, clients, excluded=lambda client: False):
    """Everything that the clients' logs say, tag by tag, manifest by manifest, kind by kind."""
    totals, out = Totals(), 0
    for client in clients:
        if excluded(client):
            out += len(client.log)
        else:
            totals.add(client.log, client.kind)
    assert totals.hinted > 100, "few HEADs were followed by their GET: the test shows little"
    for view, names, expected in (("tags", ("repository", "tag"), totals.tags),
                                  ("manifests", ("repository", "digest"), totals.manifests)):
        found = counts(database.rows(f"select * from pulltap.{view}"), *names)
        assert {name: found.get(name, (0, 0)) for name in expected} == {
            name: (total["pulls"], total["checks"]) for name, total in expected.items()}
    found = database.rows("select client, sum(pulls)::int as pulls, sum(checks)::int as checks "
                          "from pulltap.clients group by 1")
    assert counts(found, "client") == {
        (kind,): (total["pulls"], total["checks"]) for kind, total in totals.kinds.items()}
    books.check_windows(database)
    assert books.counter(database, "note_hint_full") == 0
    assert books.counter(database, "note_client_unread") == 0
    assert books.counter(database, "note_name_unmade") == 0
    assert books.counter(database, "filtered_excluded") == out
    assert books.counter(database, "counted") == totals.requests
    print(f"{len(clients)} clients, {totals.requests} requests, {totals.hinted} pulls by a hint, "
          f"{out} excluded: all exact")


def test_64_clients_at_once_each_get_their_own(keep, registry, database):
    stock = Stock(registry)
    agent = watch(keep, registry, database)
    clients = crowd(stock, registry.port)
    registry.settle()
    agent.stop()
    check(database, clients)


def test_forged_headers_of_64_untrusted_clients_change_nothing(keep, registry, database):
    stock = Stock(registry)
    agent = watch(keep, registry, database, "--trusted-proxy", "10.0.0.0/8",
                  "--trusted-proxy", "127.0.2.1")
    clients = crowd(stock, registry.port, headers=forged)
    registry.settle()
    agent.stop()
    check(database, clients)


@pytest.mark.parametrize("way", WAYS)
def test_64_clients_behind_a_trusted_proxy_each_get_their_own(keep, registry, database, way):
    stock = Stock(registry)
    proxy = keep(Forwarder(registry.port, WAYS[way], "127.0.2.1")).start()
    agent = watch(keep, registry, database, "--trusted-proxy", "127.0.2.0/24")
    clients = crowd(stock, proxy.port, headers=forged)
    registry.settle()
    agent.stop()
    check(database, clients)


def test_64_clients_behind_two_proxies_with_rules_by_peer_and_agent(keep, registry, database,
                                                                    folder):
    stock = Stock(registry)
    inner = keep(Forwarder(registry.port, APPENDED, "127.0.2.1")).start()
    outer = keep(Forwarder(inner.port, APPENDED, "127.0.2.2")).start()
    rules = folder.write("rules", "exclude net peer=127.0.1.32/28\n"
                                  "exclude agent user-agent=Buildah/*\n")
    agent = watch(keep, registry, database, "--trusted-proxy", "127.0.2.1",
                  "--trusted-proxy", "127.0.2.2", "--rules", rules)
    clients = crowd(stock, outer.port, headers=forged)
    registry.settle()
    agent.stop()
    check(database, clients, lambda client: client.kind == "buildah"
          or 32 <= int(client.address.rsplit(".", 1)[1]) < 48)


def test_headers_of_a_proxy_that_is_not_trusted_are_not_believed(keep, registry, database):
    image = Image("untrusted")
    registry.push(image, "team/app", "v1")
    proxy = keep(Forwarder(registry.port, APPENDED, "127.0.2.1")).start()
    agent = watch(keep, registry, database, "--trusted-proxy", "127.0.2.2")
    port, registry.port = registry.port, proxy.port  # from here on through the proxy
    registry.send("HEAD", "team/app", "v1", "127.0.1.1")
    registry.send("GET", "team/app", image.digest, "127.0.1.2")
    registry.port = port
    registry.settle()
    agent.stop()
    # two clients, but the proxy alone is known: it counts as one
    row, = database.rows("select * from pulltap.tags")
    assert (row["pulls"], row["checks"]) == (1, 0)


def test_address_that_is_none_is_not_passed_by(keep, registry, database):
    image = Image("hidden")
    registry.push(image, "team/app", "v1")
    agent = watch(keep, registry, database, "--trusted-proxy", "127.0.2.0/24")
    for value in ("127.0.1.9, unknown", "127.0.1.9, _hidden, 127.0.2.7", "127.0.1.9,nonsense"):
        headers = {"X-Forwarded-For": value}
        registry.send("HEAD", "team/app", "v1", "127.0.2.1", **headers)
        registry.send("GET", "team/app", image.digest, "127.0.1.9")
    registry.settle()
    agent.stop()
    row, = database.rows("select * from pulltap.tags")
    assert (row["pulls"], row["checks"]) == (0, 3)
