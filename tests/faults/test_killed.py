# SPDX-License-Identifier: MIT
"""
Fault 1: the agent is killed with SIGKILL and started again, a hundred times at moments nobody
chose, while clients pull without a pause. Counting goes on in the kernel, each agent adopts what
the one before left, and at the end every total equals the registry's access log.
"""
import contextlib
import random
import time

from lib import books, deaths, load
from lib.agent import Agent
from lib.registry import Registry
from lib.truth import Truth

CLIENTS, RATE = 3, 80  # requests a second of each
# most at a moment nobody chose; some while the agent adopts, some around a window's end
WAYS = ["agent_anywhere"] * 8 + ["agent_at_start", "agent_at_drain"]


def test_agent_killed_again_and_again_loses_and_doubles_nothing(keep, database, scaled, figure):
    deaths.seed()
    registry = keep(Registry()).start()
    names = registry.fill(20, repositories=5)
    since = registry.mark()
    agent = keep(Agent(database.conninfo(), registry.pid)).start()
    death = deaths.Deaths(agent, database)
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(load.Trickle(registry, load.mixed(names), RATE))
                   for _ in range(CLIENTS)]
        for _ in range(scaled(100, least=10)):
            death.strike(random.choice(WAYS))
        while time.monotonic() - began < scaled(120):
            time.sleep(0.1)
    took = time.monotonic() - began
    registry.settle()
    agent.stop(timeout=120)
    logged = registry.requests(since)
    assert len(logged) == sum(client.sent for client in clients)
    sums = books.check(database, Truth(names).feed(logged), hits=len(logged))
    assert agent.spool() == []
    streams = database.rows("select agent, count(*) as windows from pulltap.windows group by 1")
    assert len(streams) == 1, "the stream kept its identity"
    figure("agent killed", f"{sum(death.counts.values())} times in {took:.0f} s",
           f"{len(logged):,} requests, {sums['counted']:,} counted in "
           f"{streams[0]['windows']} windows, exact")
