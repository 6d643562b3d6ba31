# SPDX-License-Identifier: MIT
"""
Two registries over one storage, each watched by an agent of its own, as nodes behind a balancer:
the HEAD of a pull goes to one and its GET to the other. What no agent can pair is estimated in the
database, and is in no count.
"""
import time

import pytest

from lib.agent import Agent
from lib.images import DOCKER, Image
from lib.proc import until
from lib.registry import Registry

pytestmark = pytest.mark.needs_pulltap
SLICE = 300


def asked(registry, since):
    """{(peer, method)} of all manifest requests in the registry's log."""
    return {(request.remote.rsplit(":", 1)[0], request.method)
            for request in registry.requests(since)}


@pytest.fixture
def nodes(keep, database):
    first = keep(Registry()).start()
    second = keep(Registry(storage=first.storage)).start()
    pair = []
    for registry in (first, second):
        agent = keep(Agent(database.conninfo(), registry.pid, hint=60)).start()
        pair.append((registry, agent))
    return pair


def test_head_and_get_on_different_nodes_are_estimated_and_never_counted(keep, database, nodes):
    (first, first_agent), (second, second_agent) = nodes
    across, local = Image("across", types=DOCKER), Image("local", types=DOCKER)
    first.push(across, "team/app", "v1")
    first.push(local, "team/app", "v2")

    # a window with nothing in it is not sent; an agent looks for others when it connects
    def reported():
        for registry in (first, second):
            registry.tags("team/app")
        return database.value("select count(*) from pulltap.agent") == 2

    until(reported, 30, what="both agents report")
    for agent in (first_agent, second_agent):
        agent.pause()
        agent.start()
    if time.time() % SLICE > SLICE - 30:
        time.sleep(31 - time.time() % 1)  # all of it in one slice, as the agents' clock has it

    marks = first.mark(), second.mark()
    for client in range(10, 17):
        first.send("HEAD", "team/app", "v1", f"127.0.0.{client}")
        second.send("GET", "team/app", across.digest, f"127.0.0.{client}")
    for client in range(17, 20):
        second.send("HEAD", "team/app", "v1", f"127.0.0.{client}")
        first.send("GET", "team/app", across.digest, f"127.0.0.{client}")
    for client in range(20, 24):  # the image is there: nothing follows
        first.send("HEAD", "team/app", "v1", f"127.0.0.{client}")
    for client in range(30, 35):  # one node does it all
        first.send("HEAD", "team/app", "v2", f"127.0.0.{client}")
        first.send("GET", "team/app", local.digest, f"127.0.0.{client}")
    logs = asked(first, marks[0]), asked(second, marks[1])
    heads, gets = [{(method, peer) for peer, method in log} for log in logs]
    pulled = {peer for method, peer in heads if method == "HEAD"
              and ("GET", peer) in gets} | {peer for method, peer in gets if method == "HEAD"
                                            and ("GET", peer) in heads}
    assert len(pulled) == 10, "the registries' own logs"
    for agent in (first_agent, second_agent):
        agent.stop()

    # the slice is over for all agents, as ten minutes later
    database.execute("update pulltap.unpaired set at = at - interval '10 minutes'")
    for _ in range(2):
        database.execute(
            "select pulltap.apply_pairs('00000000-0000-0000-0000-000000000000')")
    rows = database.rows("select tag, pulls, checks, estimated_pulls from pulltap.tags order by 1")
    assert rows == [{"tag": "v1", "pulls": 0, "checks": 14, "estimated_pulls": len(pulled)},
                    {"tag": "v2", "pulls": 5, "checks": 0, "estimated_pulls": 0}]
    totals = {row["digest"]: (row["pulls"], row["checks"]) for row in database.manifests("test")}
    assert totals == {across.digest: (10, 14), local.digest: (5, 0)}
    assert database.value("select count(*) from pulltap.unpaired") == 0
    assert database.rows("select * from pulltap.windows where not balanced or lost <> 0") == []
