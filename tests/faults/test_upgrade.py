# SPDX-License-Identifier: MIT
"""
Fault 2: another build of the agent takes over while clients go on pulling, there and back, and some
die in the middle of it. What is attached stays attached; each hit runs one build's programs or the
other's, whole. So every total equals what the registry logged, or what the load did.
"""
import contextlib
import os
import random
import subprocess

import pytest

from lib import books, deaths, load
from lib.agent import BINARY, Agent, pulltap
from lib.hits import Load, check_every_key, check_windows, lost, wait_shipped
from lib.images import ACCEPT, DOCKER, Image
from lib.proc import REPOSITORY_ROOT, Folder, find_program, run, until
from lib.registry import Registry
from lib.truth import Truth
from lib.watch import Watch, bpftool, dump_map

CLIENTS = 6  # as fast as the registry answers


def build(name):
    """The path of another build: `make variants`."""
    path = os.path.join(os.path.dirname(BINARY), name, "pulltap")
    if not os.path.exists(path):
        subprocess.run(["make", "-s", "-C", REPOSITORY_ROOT, "variants"], check=True)
    return path


def generation(agent):
    return os.readlink(f"{agent.bpffs}/live")


def sets(agent):
    return sorted(name for name in os.listdir(agent.bpffs) if name.startswith("generation_"))


@contextlib.contextmanager
def pulling(registry, names, clients=CLIENTS):
    """Clients that pull without a pause."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(load.Trickle(registry, load.mixed(names), 1e6))
               for _ in range(clients)]


def check(agent, database, registry, names, since, clients):
    """Everything that was asked is in the log, and everything in the log is in the database."""
    registry.settle()
    agent.stop(timeout=120)
    logged = registry.requests(since)
    assert len(logged) == sum(client.sent for client in clients)
    books.check(database, Truth(names).feed(logged), hits=len(logged))
    assert agent.spool() == []
    streams = database.rows("select agent, count(*) as windows from pulltap.windows group by 1")
    assert len(streams) == 1, "the stream kept its identity"
    return logged


def test_builds_that_replace_each_other_under_load_lose_and_double_nothing(keep, database, scaled,
                                                                           figure):
    registry = keep(Registry()).start()
    names = registry.fill(20, repositories=5)
    since = registry.mark()
    agent = keep(Agent(database.conninfo(), registry.pid)).start()
    upgrades = scaled(40, least=6)
    with pulling(registry, names) as clients:
        for number in range(upgrades):
            before = generation(agent)
            (agent.pause, agent.kill)[number % 2]()
            agent.binary = (build("other"), BINARY)[number % 2]
            agent.start()
            assert agent.events("replacing the kernel side of another build"), agent.log()
            until(lambda: sets(agent) == [generation(agent)], 10, what="the old set has gone")
            assert generation(agent) != before
    logged = check(agent, database, registry, names, since, clients)
    figure("agent replaced by another build", f"{upgrades} times, there and back",
           f"{len(logged):,} requests, exact")


@pytest.fixture
def folder(keep):
    return keep(Folder("pulltap-upgrade-"))


@pytest.fixture
def watch():
    watch = Watch()
    yield watch
    watch.abandon()


def test_builds_that_replace_each_other_at_full_speed_miss_and_repeat_no_hit(watch, folder, scaled,
                                                                             figure):
    """A gap or an overlap of a tenth of a millisecond would show."""
    hits, upgrades = scaled(1_500_000, least=500_000), 0
    running = Load(folder, watch).start(2, hits, 2_000, 50_000)
    while running.running():
        (watch.agent.pause, watch.agent.kill)[upgrades % 2]()
        watch.agent.binary = (build("other"), BINARY)[upgrades % 2]
        watch.agent.start()
        upgrades += 1
    truth = running.wait()
    assert sum(truth.values()) == hits
    wait_shipped(watch, hits)
    watch.agent.stop()
    counters = check_windows(watch)
    assert counters["seen"] == counters["counted"] == hits, dict(counters)
    assert lost(counters) == 0
    check_every_key(watch, truth)
    assert upgrades >= 2
    figure("the same at full speed", f"{upgrades} times", f"{hits:,} hits, exact by key")


# What changes anything outside of an agent's own memory, up to the end of its takeover.
CALLS = ("bpf", "symlink", "rename", "unlink", "rmdir", "mkdir", "fsync")


def takeover_calls(agent, folder):
    """How often each call is made by an agent that replaces another build's set."""
    trace = folder / "trace"
    agent.under = [find_program("strace"), "-D", "-qq", "-o", trace, "-e", "trace=" +
                   ",".join(CALLS)]
    agent.start()
    agent.under = []
    agent.kill()
    with open(trace) as lines:
        made = [line.split("(", 1)[0] for line in lines]
    return {call: made.count(call) for call in CALLS}


def test_takeover_that_dies_at_any_call_is_finished_by_the_next(keep, database, folder, scaled,
                                                                figure):
    """SIGKILL before the Nth bpf(), rename(), ...: whatever lies there, the next one of either
    build goes on from it, and no hit is lost or doubled meanwhile."""
    deaths.seed()
    registry = keep(Registry()).start()
    names = registry.fill(20, repositories=5)
    since = registry.mark()
    agent = keep(Agent(database.conninfo(), registry.pid)).start()
    died, left = 0, set()
    with pulling(registry, names, clients=2) as clients:
        agent.kill()
        agent.binary = build("other")
        calls = takeover_calls(agent, folder)
        assert all(calls.values()), calls
        places = [(call, number + 1) for call, count in calls.items() for number in range(count)]
        for call, number in random.sample(places, min(len(places), scaled(120, least=25))):
            agent.binary = random.choice((build("other"), BINARY))
            agent.under = [find_program("strace"), "-D", "-qq", "-o", "/dev/null", "-e",
                           "trace=" + ",".join(CALLS), "-e",
                           f"inject={call}:signal=SIGKILL:when={number}"]
            agent.start(ready=False)
            until(lambda: not agent.process.running() or 'msg="ready"' in agent.log(), 30,
                  what="the agent dies or is ready")
            died += not agent.process.running()
            agent.kill()
            left.add(len(sets(agent)))
        agent.under = []
        agent.start()
        assert sets(agent) == [generation(agent)]
    logged = check(agent, database, registry, names, since, clients)
    assert died >= scaled(120, least=25) / 3
    figure("agent killed within a takeover", f"{died} times, up to {max(left)} sets left",
           f"{len(logged):,} requests, exact")


def test_older_set_with_shorter_structs_is_drained_to_its_last_count(watch, folder, figure):
    """A later version, whose structs have grown, takes over; its own set is refused to the older
    one, which says what to do, and nothing is lost on the way back either."""
    agent = watch.agent
    running = Load(folder, watch).start(2, 300_000, 1_000, 30_000)
    agent.kill()
    agent.binary = build("longer")
    agent.start()
    assert agent.events("replacing the kernel side of another build")
    until(lambda: sets(agent) == [generation(agent)], 10, what="the old set has gone")
    control, = dump_map(agent.bpffs + "/control")
    assert "added_later" in control["value"]
    agent.pause()
    agent.binary = BINARY
    agent.start(ready=False)
    assert agent.process.wait(30) == 1
    assert "in use by a newer version" in agent.log() and "uninstall" in agent.log()
    place = ["--bpffs", agent.bpffs, "--state-dir", agent.state]
    refused = pulltap("status", *place, check=False)
    assert refused.returncode == 1 and "a newer version" in refused.stderr
    agent.binary = build("longer")
    agent.start()
    truth = running.wait()
    wait_shipped(watch, 300_000)
    agent.stop()
    agent.binary = BINARY  # the way back that was named
    agent.start()
    agent.stop()
    counters = check_windows(watch)
    assert counters["seen"] == counters["counted"] == 300_000
    check_every_key(watch, truth)
    figure("agent replaced by a later version", "longer structs, one more counter",
           "300,000 hits, exact by key")


def test_set_of_the_first_layout_is_refused_with_what_to_do(keep, database):
    agent = keep(Agent(database.conninfo()))
    os.mkdir(agent.bpffs)
    bpftool("map", "create", agent.bpffs + "/control", "type", "array", "key", "4", "value", "64",
            "entries", "1", "name", "control")
    agent.start(ready=False)
    assert agent.process.wait(30) == 1
    assert "an older version's layout" in agent.log() and "SIGINT" in agent.log()
    place = ["--bpffs", agent.bpffs, "--state-dir", agent.state]
    assert "an older version" in pulltap("status", *place, check=False).stderr
    done = pulltap("uninstall", *place)
    assert done.stdout.strip() == "removed" and "is dropped" in done.stderr
    agent.start()
    agent.stop()


def curl(registry, method, path):
    run(["curl", "-sSf", "-o", "/dev/null", "-X" if method != "HEAD" else "-I",
         *([method] if method != "HEAD" else []), "-H", f"Accept: {ACCEPT}", registry.url + path])


def test_head_before_an_upgrade_and_get_after_it_are_one_pull(keep, database):
    registry = keep(Registry()).start()
    names = registry.fill(1)
    (repository, tag), digest = next(iter(names.items()))
    since = registry.mark()
    agent = keep(Agent(database.conninfo(), registry.pid, hint=60)).start()
    for binary in (build("other"), BINARY, build("longer")):
        curl(registry, "HEAD", f"/v2/{repository}/manifests/{tag}")
        registry.settle()
        agent.pause()
        agent.binary = binary
        agent.start()
        assert agent.events("replacing the kernel side of another build")
        curl(registry, "GET", f"/v2/{repository}/manifests/{digest}")
    registry.settle()
    agent.stop()
    truth = Truth(names, hints=True).feed(registry.requests(since))
    assert truth.hinted == 3
    books.check(database, truth)


def test_switch_that_is_off_stays_off_through_an_upgrade(keep, database):
    registry = keep(Registry()).start()
    names = registry.fill(2)
    agent = keep(Agent(database.conninfo(), registry.pid)).start()
    place = ["--bpffs", agent.bpffs]
    pulltap("off", *place)
    for binary in (build("other"), build("longer")):
        agent.pause()
        agent.binary = binary
        agent.start()
        assert dump_map(agent.bpffs + "/off")[0]["value"] == 1
        words = dump_map(agent.bpffs + "/control")[0]["value"]["words"]
        assert words[0]["off"] == 1 and words[0]["who"][1]
        with pulling(registry, names, 1):
            pass
    run([agent.binary, "on", *place])
    until(lambda: agent.events("target attached") or agent.events("the probes are back"), 10,
          what=lambda: f"the probes are back\n{agent.log()}")
    since = registry.mark()
    with pulling(registry, names, 1) as clients:
        until(lambda: clients[0].sent > 50, 20, what="requests")
    registry.settle()
    agent.stop()
    books.check_windows(database)
    logged = registry.requests(since)
    assert database.value("select sum(pulls) from pulltap.tag_total") == \
        sum(total.pulls for total in Truth(names).feed(logged).tags.values())


def link_pins(agent):
    return sorted(name for name in os.listdir(agent.bpffs + "/link") if name.startswith("site_"))


def take_breakpoints_out(agent, registry):
    """Puts the file's own bytes back into the text of the registry, as if the kernel had never
    put its breakpoints there."""
    sites = [entry["value"] for entry in dump_map(agent.bpffs + "/sites") if entry["value"]["hook"]]
    with open(f"/proc/{registry.pid}/maps") as maps, open(registry.binary, "rb") as file, \
            open(f"/proc/{registry.pid}/mem", "r+b", buffering=0) as memory:
        text = [line.split() for line in maps if "r-xp" in line and str(registry.binary) in line]
        for site in sites:
            for place, _, offset, *_ in text:
                start, end = (int(number, 16) for number in place.split("-"))
                at = start + site["file_offset"] - int(offset, 16)
                if start <= at < end:
                    file.seek(site["file_offset"])
                    memory.seek(at)
                    was = memory.read(1)
                    memory.seek(at)
                    memory.write(file.read(1))
                    memory.seek(at)
                    assert memory.read(1) != was
    return len(sites)


SAID = {"gone": "a probe is gone", "foreign": "a probe is not ours", "entry": "a probe is not ours",
        "text": "a probe does not fire"}


@pytest.mark.parametrize("damage", SAID)
def test_probe_that_is_not_ours_is_attached_anew_by_the_next_agent(keep, database, damage):
    """Pins survive, but what is behind them? Silence here would be silence for good."""
    registry = keep(Registry()).start()
    names = registry.fill(3)
    agent = keep(Agent(database.conninfo(), registry.pid)).start()
    pins = link_pins(agent)
    assert len(pins) == 2
    agent.pause()
    if damage == "entry":  # as if by a hand: what the probes jump through is gone
        for name in os.listdir(agent.bpffs + "/entry"):
            os.unlink(f"{agent.bpffs}/entry/{name}")
    elif damage == "text":
        assert take_breakpoints_out(agent, registry) == 2
    else:
        for pin in pins:
            os.unlink(f"{agent.bpffs}/link/{pin}")
            if damage == "foreign":
                os.rename(f"{agent.bpffs}/link/exec_watch", f"{agent.bpffs}/link/{pin}") \
                    if pin == pins[0] else None
    agent.start()
    assert SAID[damage] in agent.log() and len(agent.events("target attached")) == 1
    assert link_pins(agent) == pins
    since = registry.mark()
    with pulling(registry, names, 1) as clients:
        until(lambda: clients[0].sent > 50, 20, what="requests")
    check(agent, database, registry, names, since, clients)


def test_empty_entry_is_told_and_in_the_books(keep, database):
    """The one way in which a hit can miss every set: somebody takes the program from its slot."""
    registry = keep(Registry()).start()
    names = registry.fill(3)
    since = registry.mark()
    agent = keep(Agent(database.conninfo(), registry.pid)).start()
    place = ["--bpffs", agent.bpffs, "--state-dir", agent.state]
    agent.kill()
    for key in range(2):
        bpftool("map", "delete", "pinned", agent.bpffs + "/entry/programs", "key", str(key), "0",
                "0", "0")
    with pulling(registry, names, 1) as clients:
        until(lambda: clients[0].sent > 20, 20, what="requests")
    registry.settle()
    assert "lost_entry" in pulltap("status", *place, check=False).stdout
    agent.start()
    lost_hits = clients[0].sent
    with pulling(registry, names, 1) as clients:
        until(lambda: clients[0].sent > 20, 20, what="requests")
    registry.settle()
    agent.stop()
    assert len(registry.requests(since)) == lost_hits + clients[0].sent
    assert database.rows("select reason, sum(count) as count from pulltap.losses group by 1") == \
        [{"reason": "lost_entry", "count": lost_hits}]
    assert database.rows("select * from pulltap.windows where not balanced") == []


def test_uninstall_leaves_no_trace_of_a_takeover_that_died(keep, database, folder):
    registry = keep(Registry()).start()
    names = registry.fill(3)
    since = registry.mark()
    agent = keep(Agent(database.conninfo(), registry.pid)).start()
    with pulling(registry, names, 1) as clients:
        until(lambda: clients[0].sent > 50, 20, what="requests")
    agent.kill()
    agent.binary = build("other")
    agent.under = [find_program("strace"), "-D", "-qq", "-o", "/dev/null", "-e",
                   "trace=rename", "-e", "inject=rename:signal=SIGKILL:when=2"]
    agent.start(ready=False)
    agent.process.wait(30)
    assert len(sets(agent)) == 2, sets(agent)
    place = ["--bpffs", agent.bpffs, "--state-dir", agent.state]
    assert pulltap("uninstall", *place).stdout.strip() == "removed"
    assert not os.path.exists(agent.bpffs)
    agent.under = []
    agent.start()
    check(agent, database, registry, names, since, clients)


@pytest.mark.parametrize("name", ["other", "longer"])
def test_head_before_an_upgrade_makes_the_get_after_it_a_pull_of_the_tag(keep, database, name):
    registry = keep(Registry()).start()
    image = Image("upgrade", types=DOCKER)
    registry.push(image, "team/app", "v1")
    agent = keep(Agent(database.conninfo(), registry.pid, hint=300)).start()
    registry.send("HEAD", "team/app", "v1")
    registry.settle()
    agent.pause()
    agent.binary = build(name)
    agent.start()
    assert agent.events("replacing the kernel side of another build"), agent.log()
    registry.send("GET", "team/app", image.digest)
    registry.settle()
    agent.stop()
    row, = database.rows("select * from pulltap.tags")
    assert (row["pulls"], row["checks"]) == (1, 0)
    books.check_windows(database)


def test_rules_hold_through_an_upgrade_from_its_first_hit_on(keep, database, folder):
    registry = keep(Registry()).start()
    names = registry.fill(4)
    rules = folder.write("rules", "exclude everybody peer=127.0.0.0/8\n")
    agent = keep(Agent(database.conninfo(), registry.pid, arguments=["--rules", rules])).start()
    since = registry.mark()
    with pulling(registry, names):
        agent.pause()
        agent.binary = build("other")
        agent.start()
        assert agent.events("replacing the kernel side of another build"), agent.log()
    registry.settle()
    agent.stop()
    logged = [request for request in registry.requests(since) if request.status == 200]
    row, = database.rows("select sum(pulls)::int as pulls, sum(checks)::int as checks, "
                         "sum(excluded)::int as excluded from pulltap.manifests")
    assert row == {"pulls": 0, "checks": 0, "excluded": len(logged)}
    assert books.counter(database, "filtered_excluded") == len(logged)
    books.check_windows(database)
