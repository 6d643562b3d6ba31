# SPDX-License-Identifier: MIT
"""Replies by the million on a real probe, and everything that can happen to an agent meanwhile:
the database holds what build/tools/load says that it did, key by key."""

import contextlib
import json
import signal
import time

import pytest

import watching
from watching import Watch, bpftool, run, until

from lib.agent import BINARY, pulltap
from lib.hits import (Load, check_every_key, check_windows, filtered, lost, status_file,
                      stored_tags, wait_shipped)


@pytest.fixture
def folder():
    with watching.Folder("pulltap-load-") as folder:
        yield folder


@pytest.fixture
def start(folder):
    """start(options of Watch) -> the agent and its load"""
    with contextlib.ExitStack() as stack:
        def begin(**options):
            watch = Watch(**options)
            stack.callback(watch.abandon)
            return watch, Load(folder, watch)

        yield begin


def test_three_million_pulls_of_100000_keys_are_stored_to_the_last(start):
    watch, load = start(arguments=["--max-keys", "131072"])
    began = time.monotonic()
    truth = load.start(4, 3_000_000, 100_000).wait(600)
    took = time.monotonic() - began
    assert sum(truth.values()) == 3_000_000 and len(truth) == 100_000
    wait_shipped(watch, 3_000_000)
    status = status_file(watch)
    shipped = time.monotonic() - began
    watch.agent.stop()
    counters = check_windows(watch)
    print(f"3,000,000 hits in {took:.1f} s, all stored after {shipped:.1f} s, "
          f"{status['windows']['drained']} windows, {status['windows']['early']} early, "
          f"{ {name: count for name, count in counters.items() if count} }")
    assert counters["seen"] == counters["counted"] == 3_000_000
    assert lost(counters) == 0
    assert status["shipping"]["duplicate"] == 0
    check_every_key(watch, truth)


def test_more_keys_than_a_window_holds_are_stored_or_told(start):
    """4,096 keys have room and 50,000 come as fast as they can: early swaps and the overflow map
    take what they can, and whatever finds no room is in a counter that says so."""
    watch, load = start(arguments=["--max-keys", "4096"])
    truth = load.start(4, 300_000, 50_000).wait(300)
    wait_shipped(watch, 300_000)
    status = status_file(watch)
    watch.agent.stop()
    counters = check_windows(watch)
    print({name: count for name, count in counters.items() if count}, status["windows"])
    assert counters["seen"] == 300_000
    assert counters["counted"] + filtered(counters) + lost(counters) == 300_000
    assert {name for name, count in counters.items() if count and name.startswith("lost_")} <= \
        {"lost_map_full", "lost_no_memory"}
    assert status["windows"]["early"] > 0
    stored = stored_tags(watch)
    assert all(stored[key] <= truth[key] for key in stored)
    assert sum(stored.values()) == counters["counted"]
    if not lost(counters):
        check_every_key(watch, truth)


def test_keys_that_come_at_a_swappable_pace_are_never_lost(start):
    """New keys at 20,000 a second through room for 4,096."""
    watch, load = start(arguments=["--max-keys", "4096"])
    truth = load.start(2, 100_000, 50_000, 20_000).wait(300)
    wait_shipped(watch, 100_000)
    status = status_file(watch)
    watch.agent.stop()
    counters = check_windows(watch)
    print({name: count for name, count in counters.items() if count}, status["windows"])
    assert counters["counted"] == 100_000 and lost(counters) == 0
    assert status["windows"]["early"] > 0
    check_every_key(watch, truth)


def test_agent_that_is_killed_is_followed_by_one_that_adopts(start):
    watch, load = start()
    load.start(2, 400_000, 5_000, 40_000)
    adopted = 0
    while load.running():
        time.sleep(1.3)
        watch.agent.kill()
        time.sleep(0.4)  # nobody drains, the programs count on
        watch.agent.start()
        assert "adopted what counts already" in watch.agent.log()
        adopted += 1
    truth = load.wait()
    assert adopted >= 3
    assert sum(truth.values()) == 400_000
    wait_shipped(watch, 400_000)
    watch.agent.stop()
    counters = check_windows(watch)
    print(f"{adopted} agents killed", {name: count for name, count in counters.items() if count})
    assert counters["seen"] == counters["counted"] == 400_000
    check_every_key(watch, truth)


def test_second_agent_is_refused_and_the_first_counts_on(start, folder):
    watch, load = start()
    load.start(1, 30_000, 100, 20_000)
    second = run([BINARY, "run", "--bpffs", watch.agent.bpffs, "--state-dir", folder.make("second"),
                  "--no-discover", "--database", watch.postgres.conninfo()], check=False)
    assert second.returncode == 1
    assert f"pid {watch.agent.pid}" in second.stderr, second.stderr
    truth = load.wait()
    wait_shipped(watch, 30_000)
    watch.agent.stop()
    assert check_windows(watch)["counted"] == 30_000
    check_every_key(watch, truth)


def kernel_objects(bpffs):
    """What of a folder of pins lives in the kernel: {kind: ids}."""
    programs = {json.loads(bpftool("-j", "prog", "show", "pinned", f"{bpffs}/{name}").stdout)
                ["id"] for name in ("entry/http1", "entry/http2", "program/go_http1",
                                    "program/go_http2", "program/exec_watch")}
    everything = {kind: json.loads(bpftool("-j", kind, "show").stdout)
                  for kind in ("prog", "link", "map")}
    maps = {number for program in everything["prog"] if program["id"] in programs
            for number in program["map_ids"]}
    links = {link["id"] for link in everything["link"] if link["prog_id"] in programs}
    return {"prog": programs, "link": links, "map": maps}


def alive(objects):
    return {kind: ids & {thing["id"] for thing in json.loads(bpftool("-j", kind, "show").stdout)}
            for kind, ids in objects.items()}


def test_uninstall_leaves_nothing_in_the_kernel_and_saves_the_counts(start):
    watch, load = start()
    truth = load.start(2, 50_000, 1_000).wait()
    refused = pulltap("uninstall", "--bpffs", watch.agent.bpffs, "--state-dir", watch.agent.state,
                      check=False)
    assert refused.returncode == 1 and "stop it first" in refused.stderr
    load.start(2, 50_000, 1_000)
    watch.agent.kill()
    truth = load.wait()
    objects = kernel_objects(watch.agent.bpffs)
    assert alive(objects) == objects
    assert len(objects["link"]) >= 2 and len(objects["map"]) >= 10
    done = pulltap("uninstall", "--bpffs", watch.agent.bpffs, "--state-dir", watch.agent.state)
    assert done.stdout.strip() == "removed"
    assert watch.agent.pinned() == []
    until(lambda: not any(alive(objects).values()), 10, 0.1,
          what=lambda: f"programs, links and maps go: {alive(objects)}")
    assert pulltap("uninstall", "--bpffs", watch.agent.bpffs,
                   "--state-dir", watch.agent.state).stdout.strip() == "nothing to remove"
    watch.agent.start()
    wait_shipped(watch, 100_000)
    watch.agent.stop()
    assert check_windows(watch)["counted"] == 100_000
    check_every_key(watch, truth)


def test_sigterm_keeps_counting_for_the_next_agent(start):
    watch, load = start()
    load.start(2, 60_000, 500, 20_000)
    time.sleep(0.7)
    watch.agent.pause()
    truth = load.wait()
    watch.agent.start()
    wait_shipped(watch, 60_000)
    watch.agent.stop()
    assert check_windows(watch)["counted"] == 60_000
    check_every_key(watch, truth)


def test_switching_off_and_on_under_load_never_counts_too_much(start):
    watch, load = start()
    place = ["--bpffs", watch.agent.bpffs]
    load.start(3, 400_000, 2_000, 60_000)
    until(lambda: watch.sites("load"), 10, what="load is probed")
    quiet = 0
    while load.running():
        time.sleep(0.3)
        pulltap("off", *place)
        time.sleep(0.05)  # hits on their way
        before = watch.hits()
        time.sleep(0.3)
        assert watch.hits() == before
        quiet += load.running()
        pulltap("on", *place)
    truth = load.wait()
    assert quiet >= 2
    watch.settled()
    seen = watch.hits()
    wait_shipped(watch, seen)
    watch.agent.stop()
    counters = check_windows(watch)
    print(f"{quiet} times off, {seen} of 400,000 counted")
    assert lost(counters) == 0
    assert 0 < counters["counted"] == counters["seen"] == seen < 400_000
    stored = stored_tags(watch)
    assert sum(stored.values()) == seen
    assert all(count <= truth[key] for key, count in stored.items())


def test_signal_during_load_ends_with_every_hit_until_then(start):
    """SIGINT while it counts: what was seen is stored, the probe is gone, the load goes on."""
    watch, load = start()
    load.start(2, 200_000, 1_000, 50_000)
    until(lambda: watch.sites("load") and watch.hits() > 20_000, 20, what="hits")
    assert watch.agent.process.stop(signal.SIGINT, 60) == 0
    assert load.running()
    assert watch.agent.pinned() == []
    truth = load.wait()
    counters = check_windows(watch)
    assert 20_000 < counters["counted"] == counters["seen"] < 200_000
    stored = stored_tags(watch)
    assert sum(stored.values()) == counters["counted"]
    assert all(count <= truth[key] for key, count in stored.items())
