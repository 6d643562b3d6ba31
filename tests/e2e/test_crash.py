# SPDX-License-Identifier: MIT
"""
The agent and the database die, again and again, at moments nobody chose and at moments chosen to
hurt, while clients go on pulling. At the end every total equals the access log.
"""
import os
import random

import pytest

from lib import books, deaths, load
from lib.agent import Agent
from lib.registry import Registry
from lib.truth import Truth

pytestmark = pytest.mark.needs_pulltap
DEATHS = int(os.environ.get("PULLTAP_DEATHS", "200"))
RATE = 60  # requests a second


WAYS = ["agent_anywhere"] * 6 + ["agent_at_start"] * 3 + ["agent_at_drain"] * 4 + \
    ["agent_at_ship"] * 3 + ["backend_in_transaction"] * 2 + ["backend_anywhere"] * 1 + ["both"]


def test_totals_are_exact_after_every_death(keep, database):
    deaths.seed()
    registry = keep(Registry()).start()
    names = registry.fill(20, repositories=5)
    asks = load.mixed(names)
    since = registry.mark()
    agent = keep(Agent(database.conninfo(), registry.pid)).start()
    death = deaths.Deaths(agent, database)
    ways = (WAYS * (DEATHS // len(WAYS) + 1))[:DEATHS]
    random.shuffle(ways)
    with load.Trickle(registry, asks, RATE) as trickle:
        for way in ways:
            death.strike(way)
    registry.settle()
    agent.stop(timeout=120)
    logged = registry.requests(since)
    assert len(logged) == trickle.sent
    print(f"{len(ways)} deaths {death.counts}, {death.held} within a "
          f"transaction, {len(logged)} requests")
    books.check(database, Truth(names).feed(logged), hits=len(logged))
    assert agent.spool() == []
    assert death.held >= DEATHS // 10, "too few died within a transaction to mean anything"
    sequences = database.rows("select agent, min(sequence) as first, max(sequence) as last, "
                              "count(*) as windows from pulltap.windows group by 1")
    print(sequences)
    assert len(sequences) == 1, "the stream kept its identity"
