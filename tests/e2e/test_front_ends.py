# SPDX-License-Identifier: MIT
"""What holds for every HTTP server before a registry, whatever it is."""
import pytest

from lib import books, load
from lib.agent import Agent
from lib.apache import Apache
from lib.images import Image
from lib.nginx import Nginx
from lib.registry import Registry

pytestmark = [pytest.mark.needs_pulltap,
              pytest.mark.parametrize("front_end", [Nginx, Apache],
                                      ids=lambda kind: kind.__name__.lower())]


def test_a_head_and_its_get_through_it_are_one_pull(keep, database, front_end):
    """The peer is its client, not itself."""
    registry = keep(Registry()).start()
    names = {("a", "t"): registry.push(Image("one"), "a", "t"),
             ("b", "u"): registry.push(Image("two"), "b", "u")}
    server = keep(front_end(registry.port)).start()
    agent = keep(Agent(database.conninfo(), server.binary, hint=60)).start()
    for _ in range(10):
        for (repository, tag), digest in names.items():
            for one in (load.ask("HEAD", f"/v2/{repository}/manifests/{tag}"),
                        load.ask("GET", f"/v2/{repository}/manifests/{digest}")):
                load.curl(server, [one])
    _, truth = books.check_front_end(database, server, agent, hints=True)
    assert truth.hinted == 20


def test_that_nobody_named_is_left_alone(keep, database, front_end):
    """It fronts a registry that is counted itself: each pull once."""
    registry = keep(Registry()).start()
    digest = registry.push(Image("one"), "a", "t")
    server = keep(front_end(registry.port)).start()
    since = registry.mark()
    agent = keep(Agent(database.conninfo(), registry.binary)).start()
    load.curl(server, [load.ask("GET", "/v2/a/manifests/t")] * 20)
    registry.settle()
    agent.stop()
    assert [event["registry"] for event in agent.events("target attached")] == ["test"]
    assert len(registry.requests(since)) == 20
    rows = database.tags("test")
    assert [(row["digest"], row["pulls"]) for row in rows] == [(digest, 20)]
