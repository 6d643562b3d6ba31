# SPDX-License-Identifier: MIT
"""What the kill switch promises beside its speed (tests/faults/test_switch.py): whose word it is,
what lasts, what happens to one registry of two, and what a source does that can't be asked."""
import os
import signal
import time

import pytest

from lib import load
from lib.agent import Agent, pulltap
from lib.images import Image
from lib.pins import Pins
from lib.proc import Folder, until
from lib.redis import RedisServer
from lib.registry import Registry

pytestmark = pytest.mark.needs_pulltap


@pytest.fixture
def registry(keep):
    registry = keep(Registry()).start()
    registry.push(Image(1), "app", "v1")
    registry.settle()
    return registry


def pull(registry, times=1):
    load.curl(registry, [load.ask("GET", "/v2/app/manifests/v1")] * times)


def pulls(database, registry="test"):
    return database.value("select coalesce(sum(pulls), 0)::bigint from pulltap.tags "
                          f"where registry = '{registry}'")


def says(agent):
    """{source: who} of those that say off now."""
    return {word["source"]: word["who"] for word in agent.status()["switch"] if word["off"]}


def flag(database, scope, value):
    database.execute(f"insert into pulltap.feature_flag (scope, value) values ('{scope}', "
                     f"'{value}') on conflict (scope) do update set value = excluded.value")


def wait_counting(agent, counting):
    until(lambda: agent.status()["counting"] is counting, 20,
          what=lambda: f"counting is {counting}\n{agent.log()[-2000:]}")


def wait_probed(pins, probed):
    until(lambda: bool(pins.probed()) is probed, 20, what=f"probed is {probed}")


def gaps(database):
    return {row["reason"]: row["registry"] for row in
            database.rows("select reason, registry from pulltap.gaps")}


def test_any_off_wins_and_status_names_who_and_the_way_back(keep, registry, database):
    file = keep(Folder()) / "switch"
    agent = keep(Agent(database.conninfo(), registry.pid,
                       arguments=["--switch-file", file])).start()
    with open(file, "w") as out:
        out.write("off")
    pulltap("off", "--bpffs", agent.bpffs)
    flag(database, "fleet", "off")
    os.kill(agent.pid, signal.SIGUSR1)
    until(lambda: len(says(agent)) == 4, 20, what=lambda: f"all say off: {says(agent)}")
    assert says(agent) == {"operator": "root", "file": file, "database": "fleet, set by postgres",
                           "signal": f"pid {os.getpid()}, uid 0"}
    text = pulltap("status", "--bpffs", agent.bpffs, "--state-dir", agent.state, check=False).stdout
    assert "counting is switched off: operator said so at" in text
    assert "set the row of pulltap.feature_flag" in text
    still = pulltap("on", "--bpffs", agent.bpffs).stdout
    assert f"still off (mask 6): file says so ({file}), database says so" in still
    os.unlink(file)
    until(lambda: set(says(agent)) == {"database"}, 20, what="the file is gone")
    assert agent.status()["counting"] is False
    database.execute("delete from pulltap.feature_flag")
    wait_counting(agent, True)
    assert {word["source"] for word in agent.status()["switch"]} >= {"operator", "file"}
    agent.stop()


def test_off_without_an_agent_removes_the_probes_and_lasts(keep, registry, database):
    agent = keep(Agent(database.conninfo(), registry.pid)).start()
    pins = keep(Pins(agent.bpffs, registry.pid, registry.binary))
    pull(registry, 3)
    agent.pause()
    assert pins.probed()
    pulltap("off", "--bpffs", agent.bpffs)
    wait_probed(pins, False)
    pull(registry, 5)
    agent.start()  # finds it off and leaves the registry alone
    time.sleep(1)
    assert not pins.probed() and says(agent) == {"operator": "root"}
    pull(registry, 5)
    agent.pause()
    assert "no agent is running" in pulltap("on", "--bpffs", agent.bpffs).stdout
    pull(registry, 5)
    assert not pins.probed()
    agent.start()
    wait_probed(pins, True)
    pull(registry, 2)
    agent.stop()
    assert pulls(database) == 3 + 2
    assert gaps(database) == {"switched off: operator (root)": None}
    told = pulltap("doctor", "--state-dir", agent.state, "--bpffs", agent.bpffs, "--database",
                   database.conninfo(), check=False).stdout
    assert ": switched off: operator (root) for " in told


def test_bit_that_nobody_saw_is_recorded_by_the_next_agent(keep, registry, database):
    """bpftool off and on while no agent runs: the hits that were not counted tell when."""
    from lib.proc import find_program, run
    agent = keep(Agent(database.conninfo(), registry.pid)).start()
    agent.pause()

    def write(value):
        run([find_program("bpftool"), "map", "update", "pinned", agent.bpffs + "/off", "key",
             "0", "0", "0", "0", "value", value, "0", "0", "0"])

    write("64")
    pull(registry)
    time.sleep(1.2)
    pull(registry)
    write("0")
    pull(registry, 4)
    time.sleep(1)
    agent.start()
    agent.stop()
    assert pulls(database) == 4
    row, = database.rows("select reason, extract(epoch from duration)::float8 as seconds "
                         "from pulltap.gaps where reason <> 'not watched'")
    assert row["reason"] == "switched off: hand"
    assert 1.2 <= row["seconds"] < 30


def test_one_registry_is_off_and_the_other_counts_on(keep, database):
    one, two = (keep(Registry()).start() for _ in range(2))
    for registry in (one, two):
        registry.push(Image(1), "app", "v1")
        registry.settle()
    agent = keep(Agent(database.conninfo(), arguments=["--target", f"one={one.binary}",
                                                       "--target", f"two={two.binary}"])).start()
    pins = {registry: keep(Pins(agent.bpffs, registry.pid, registry.binary, only=True))
            for registry in (one, two)}
    pull(one, 2)
    pull(two, 3)
    flag(database, "registry:one", "off")
    wait_probed(pins[one], False)
    assert pins[two].probed()
    pull(one, 10)
    pull(two, 10)
    reasons = {site["registry"]: site["off_reasons"] for site in agent.status()["sites"]}
    assert reasons == {"one": ["flag"], "two": []}
    # it is off for processes that start later, and for the next agent
    one.process.stop()
    one.start()
    agent.pause()
    agent.start()
    time.sleep(1)
    pins[one] = keep(Pins(agent.bpffs, one.pid, one.binary, only=True))
    assert not pins[one].probed()
    pull(one, 10)
    flag(database, "registry:one", "on")
    wait_probed(pins[one], True)
    pull(one, 4)
    agent.stop()
    assert (pulls(database, "one"), pulls(database, "two")) == (2 + 4, 3 + 10)
    assert gaps(database) == {"switched off: flag": "one"}


def test_rows_of_other_nodes_say_nothing_and_own_ones_do(keep, registry, database):
    agent = keep(Agent(database.conninfo(), registry.pid, arguments=["--node", "n1"])).start()
    flag(database, "node:n2", "off")
    flag(database, "registry:other", "off")
    time.sleep(1)
    assert agent.status()["counting"] is True
    flag(database, "node:n1", "off")
    wait_counting(agent, False)
    assert says(agent) == {"database": "node:n1, set by postgres"}
    agent.stop()


def test_database_that_went_away_keeps_its_last_word(keep, registry, database):
    agent = keep(Agent(database.conninfo(), registry.pid)).start()
    flag(database, "fleet", "off")
    wait_counting(agent, False)
    database.stop()
    agent.wait_log("the switch's source keeps its last word")
    agent.kill()
    agent.start()
    until(lambda: "database" in agent.status()["agent"]["switch"], 20, what="status says so")
    assert says(agent) == {"database": "fleet, set by postgres"}
    text = pulltap("status", "--bpffs", agent.bpffs, "--state-dir", agent.state, check=False).stdout
    assert "the switch's source database can't be asked since" in text
    database.start()
    until(lambda: agent.status()["agent"]["switch"] == {}, 30, what="the database is asked again")
    flag(database, "fleet", "on")
    wait_counting(agent, True)
    agent.stop()


def test_redis_with_a_password_restarted_keeps_its_last_word(keep, registry, database):
    server = keep(RedisServer(password="se:cr@t")).start()
    url = f"unix://:se%3acr%40t@{server.socket}?key=ours"
    refused = pulltap("run", "--switch-redis", url, check=False)
    assert refused.returncode == 2 and "password" in refused.stderr
    assert "se%3acr" not in refused.stderr and "se:cr" not in refused.stderr
    agent = keep(Agent(database.conninfo(), registry.pid,
                       environment={"PULLTAP_SWITCH_REDIS": url})).start()
    shown = pulltap("run", "--print-config", env={"PULLTAP_SWITCH_REDIS": url}).stdout
    assert "se%3acr" not in shown and "****@" in shown
    server.say("off", "ours")
    wait_counting(agent, False)
    assert says(agent) == {"redis": "key ours"}
    server.stop()
    until(lambda: "redis" in agent.status()["agent"]["switch"], 20, what="status says so")
    assert agent.status()["counting"] is False
    server.start()  # an empty one: no key says on
    wait_counting(agent, True)
    server.command("SET ours nonsense")
    until(lambda: "redis" in agent.status()["agent"]["switch"], 20, what="status says so")
    assert agent.status()["counting"] is True
    server.command("SET ours off")  # nobody tells the channel
    wait_counting(agent, False)
    server.command("DEL ours")
    wait_counting(agent, True)
    assert "se:cr@t" not in agent.log() and "se%3acr" not in agent.log()
    agent.stop()


def test_nonsense_in_the_file_keeps_its_last_word(keep, registry, database):
    file = keep(Folder()) / "switch"
    agent = keep(Agent(database.conninfo(), registry.pid,
                       arguments=["--switch-file", file])).start()
    with open(file, "w") as out:
        out.write("off\n")
    wait_counting(agent, False)
    with open(file, "w") as out:
        out.write("of\n")
    agent.wait_log("the switch's source keeps its last word")
    assert agent.status()["counting"] is False
    with open(file, "w") as out:
        out.write("on\n")
    agent.wait_log("the switch's source is back")
    wait_counting(agent, True)
    # an agent without the option does not keep the word of a file that it does not read
    with open(file, "w") as out:
        out.write("off\n")
    wait_counting(agent, False)
    agent.pause()
    agent.arguments.remove("--switch-file")
    agent.arguments.remove(file)
    agent.start()
    wait_counting(agent, True)
    agent.stop()
