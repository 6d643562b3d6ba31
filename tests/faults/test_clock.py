# SPDX-License-Identifier: MIT
"""
The node's clock is set, forwards and backwards, within windows and while no agent runs, and is a
day ahead of the database's: counts stay exact, no date lies in the future, no gap is made or hidden.
Only the agent sees that clock (libfaketime); the time since the machine started goes on for all.
"""
import glob
import os
import random
import time

from lib import deaths
from lib.proc import Failed, Folder, until
from scene import Scene

HOUR = 3600


def library():
    found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    if not found:
        raise Failed("libfaketime is not installed (package faketime)")
    return found[0]


class Clock:
    """The agent's clock: so many seconds beside the machine's."""

    def __init__(self):
        self.folder = Folder("pulltap-clock-")
        self.path = self.folder / "offset"
        self.set(0)
        self.environment = {
            "LD_PRELOAD": library(), "FAKETIME_TIMESTAMP_FILE": self.path,
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_RESET": "1"}

    def set(self, seconds):
        new = self.folder.write("new", f"{seconds:+d}\n")
        os.rename(new, self.path)

    def close(self):
        self.folder.close()


def windows(database):
    return database.rows("select sequence, window_start, window_end, counters, "
                         "window_start <= window_end as ordered, window_end <= applied_at as past, "
                         "abs(extract(epoch from applied_at - window_end))::float8 as off, "
                         "coalesce((counters ->> 'time_ahead_ms')::bigint, 0) as ahead_ms "
                         "from pulltap.windows order by sequence")


def misdated(database):
    """Dates that lie in the future or outside all windows."""
    return database.rows(
        "select repository, tag, first_pull, last_pull, last_check from pulltap.tags t "
        "where greatest(last_pull, last_check) > now() or not exists (select from pulltap.windows w "
        "where t.last_pull between w.window_start and w.window_end) or not exists (select "
        "from pulltap.windows w where t.last_check between w.window_start and w.window_end)")


def drained(scene, count):
    """Waits until that many more windows were written."""
    before = scene.agent.status_file()["windows"]["last_sequence"]
    until(lambda: scene.agent.status_file()["windows"]["last_sequence"] >= before + count, 60,
          what="windows go on")


def test_clock_set_again_and_again_dates_nothing_into_the_future(keep, database, scaled, figure):
    deaths.seed()
    clock, steps = keep(Clock()), scaled(40, least=8)
    with Scene(keep, database, environment=clock.environment) as scene:
        time.sleep(2)
        for step in range(steps):
            clock.set(random.choice([-2 * HOUR, -3, -1, 0, 1, 5, HOUR, 26 * HOUR]))
            drained(scene, 1)
            time.sleep(random.uniform(0, 0.8))
        clock.set(26 * HOUR)
        drained(scene, 3)
    logged, sums = scene.finish()
    rows = windows(database)
    assert all(row["ordered"] and row["past"] for row in rows), rows
    assert any(row["ahead_ms"] > 25 * HOUR * 1000 for row in rows)
    assert any(row["off"] > 1.9 * HOUR for row in rows), "a clock that is behind is believed"
    assert misdated(database) == []
    assert database.rows("select * from pulltap.gaps") == []
    ahead = sum(row["ahead_ms"] > 0 for row in rows)
    figure("clock set", f"{steps} times, -2 h to +26 h",
           f"{len(logged):,} requests, {sums['counted']:,} counted, {ahead} of {len(rows)} windows "
           "moved back, none in the future, exact")


def test_clock_set_while_no_agent_runs_leaves_the_gap_as_it_was(keep, database, figure):
    clock = keep(Clock())
    with Scene(keep, database, environment=clock.environment) as scene:
        drained(scene, 2)
        for seconds in (-HOUR, HOUR // 2):
            scene.agent.stop()
            clock.set(seconds)
            time.sleep(3)
            scene.agent.start()
            drained(scene, 2)
    scene.agent.stop()
    found = [row["seconds"] for row in database.rows(
        "select extract(epoch from duration)::float8 as seconds from pulltap.gaps")]
    assert len(found) == 2 and all(3 <= gap < 60 for gap in found), found
    figure("clock set while stopped", "-1 h, +1.5 h",
           "gaps of " + " and ".join(f"{gap:.1f} s" for gap in found))
