# SPDX-License-Identifier: MIT
"""
The guard: a server so fast that its probes cost more than their budget is left alone by itself,
with an event, a line of status and a gap; a real registry under load stays below it.
"""
import contextlib
import http.client
import multiprocessing
import time

from lib import books, load
from lib.agent import Agent, pulltap
from lib.permissive import Permissive
from lib.pins import Pins
from lib.proc import until
from lib.registry import Registry

# what docs/switch.md says, and as much again for a machine that does other things
DOCUMENTED_S, PATIENCE_S = 25, 90


def pull(port, ended):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    while not ended.is_set():
        connection.request("GET", "/v2/app/manifests/v1")
        connection.getresponse().read()


@contextlib.contextmanager
def clients(server, count=2):
    ended = multiprocessing.Event()
    started = [multiprocessing.Process(target=pull, args=(server.port, ended), daemon=True)
               for _ in range(count)]
    for process in started:
        process.start()
    try:
        yield
    finally:
        ended.set()
        for process in started:
            process.join(20)
            process.kill()


def reasons(agent):
    return {reason for site in agent.status()["sites"] for reason in site["off_reasons"]}


def test_target_that_costs_too_much_is_switched_off_and_comes_back(keep, database, figure):
    server = keep(Permissive(log=False)).start()
    agent = keep(Agent(database.conninfo(), server.pid,
                       arguments=["--guard-budget", "0.5"])).start()
    pins = keep(Pins(agent.bpffs, server.pid, server.binary))
    with clients(server):
        began = time.monotonic()
        agent.wait_log("target switched off: its probes cost more than their budget", PATIENCE_S)
        took = time.monotonic() - began
        until(lambda: not pins.probed(), 20, what="the probes are gone")
        hits = pins.hits()
        time.sleep(1)
        assert pins.hits() == hits and hits > 0
        event, = agent.events("target switched off: its probes cost more than their budget")
        assert float(event["cost_percent"]) > float(event["budget_percent"]) == 0.5
        assert event["registry"] == "test"
        assert reasons(agent) == {"guard"}
    text = pulltap("status", "--bpffs", agent.bpffs, "--state-dir", agent.state, check=False).stdout
    assert "registry test is off: its probes cost more than --guard-budget" in text
    assert pulltap("on", "--bpffs", agent.bpffs).stdout.strip() == "on"
    until(lambda: pins.probed() == pins.sites, 20, what="the probes are back")
    assert reasons(agent) == set()
    server.send("/v2/app/manifests/v1")
    agent.stop()
    stored, = database.rows("select tag, pulls from pulltap.tags")
    # hits that met the guard's word before the probe was gone, and functions that started over
    passed = sum(books.counter(database, name)
                 for name in ("filtered_target_off", "filtered_stack_growth"))
    assert stored["pulls"] + passed == hits + 1
    books.check_windows(database)
    gap, = database.rows("select reason, registry, extract(epoch from duration)::float8 as seconds "
                         "from pulltap.gaps")
    assert (gap["reason"], gap["registry"]) == ("switched off: guard", "test")
    assert gap["seconds"] >= 1
    figure("guard: a server too fast", f"{event['hits_per_s']} requests a second",
           f"off after {took:.0f} s at {event['cost_percent']} % of its CPU time, "
           f"{event['ns_per_hit']} ns a hit")


def test_registry_under_load_stays_on_under_the_default_budget(keep, database, figure):
    registry = keep(Registry()).start()
    names = registry.fill(4)
    agent = keep(Agent(database.conninfo(), registry.pid,
                       arguments=["--guard-budget", "1"])).start()
    shares = []
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(load.Trickle(registry, load.mixed(names), 1000))
        end = time.monotonic() + DOCUMENTED_S + 5
        while time.monotonic() < end:
            time.sleep(1)
            shares += [target["cpu_percent"]
                       for target in agent.status()["agent"]["guard"]["targets"]]
    assert reasons(agent) == set()
    assert shares and max(shares) < 1
    agent.stop()
    assert database.rows("select * from pulltap.gaps") == []
    figure("guard: docker-registry", f"{DOCUMENTED_S + 5} s of load",
           f"stays on at {min(shares):.2f} to {max(shares):.2f} % of its CPU time")
