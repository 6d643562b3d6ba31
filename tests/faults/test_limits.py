# SPDX-License-Identifier: MIT
"""
Fault 6: half a million different names against maps with room for 65,536. Early swaps must carry
them all to the database; where nobody swaps, what finds no room must be in a counter, and the
books must add up.
"""
import time

import pytest

from lib.hits import (Load, check_every_key, check_windows, filtered, lost, status_file,
                      stored_tags, wait_shipped)
from lib.proc import Folder
from lib.watch import Watch

KEYS, ROOM = 500_000, 65_536


@pytest.fixture
def watch():
    """An agent with every setting at its default, but no other targets."""
    watch = Watch(window=10)
    yield watch
    watch.abandon()


@pytest.fixture
def load(keep, watch):
    return Load(keep(Folder("pulltap-limits-")), watch)


def test_names_by_the_hundred_thousand_are_carried_by_early_swaps(watch, load, scaled, figure):
    keys = scaled(KEYS, least=100_000)
    began = time.monotonic()
    truth = load.start(4, keys, keys).wait(400)
    took = time.monotonic() - began
    assert len(truth) == sum(truth.values()) == keys > ROOM
    wait_shipped(watch, keys)
    shipped = time.monotonic() - began
    windows = status_file(watch)["windows"]
    watch.agent.stop()
    counters = check_windows(watch)
    figure("map limits", f"{keys:,} new names at {keys / took:,.0f} a second, room for {ROOM:,}",
           f"{lost(counters):,} lost, {windows['early']} early swaps, all in the database after "
           f"{shipped:.0f} s")
    assert windows["early"] >= keys // ROOM - 1
    assert counters["seen"] == keys
    assert counters["counted"] + filtered(counters) + lost(counters) == keys
    if lost(counters):  # a machine that makes names faster than it drains them: told, to the last
        assert sum(stored_tags(watch).values()) == counters["counted"]
    else:
        check_every_key(watch, truth)


def test_names_that_nobody_carries_away_are_counted_as_lost(watch, load, scaled, figure):
    """The agent is dead meanwhile."""
    keys = scaled(KEYS, least=150_000)
    watch.agent.kill()
    truth = load.start(4, keys, keys).wait(400)
    watch.agent.start()
    wait_shipped(watch, keys)
    watch.agent.stop()
    counters = check_windows(watch)
    stored = stored_tags(watch)
    figure("map limits, no agent", f"{keys:,} new names, room for {ROOM:,}",
           f"{counters['counted']:,} counted, {lost(counters):,} in lost_map_full, adds up")
    assert counters["seen"] == keys
    assert counters["counted"] + counters["lost_map_full"] == keys
    # what had room is right, and it is as much as there is room for
    assert counters["counted"] >= ROOM
    assert len(stored) == sum(stored.values()) == counters["counted"]
    assert all(truth[key] == count for key, count in stored.items())
