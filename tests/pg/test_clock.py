# SPDX-License-Identifier: MIT
"""Clocks that were set, or are ahead of the database's: no date of tomorrow, no gap that was none."""
import time
from datetime import datetime

from model import GET, HEAD, MINUTE, NOON, digest, record, window

HOUR = 60 * MINUTE
SECOND = 1000000


def now_us():
    return time.time_ns() // 1000


def at(text):
    return int(datetime.fromisoformat(text).timestamp() * 1e6)


def test_window_that_ends_in_the_databases_future_is_moved_back_as_a_whole(db, tool):
    ahead = now_us() + 26 * HOUR
    tool.apply(window(record(GET, "a", digest(1), ahead - 5 * SECOND),
                      record(HEAD, "b", digest(2), ahead - 10 * SECOND),
                      record(GET, "late", digest(3), ahead + HOUR),
                      start=ahead - 10 * SECOND, end=ahead))
    now = now_us()
    tags = {row["tag"]: row for row in db.rows("select * from pulltap.tags")}
    last = at(tags["a"]["last_pull"])
    assert now - 60 * SECOND < last <= now - 5 * SECOND
    assert last - at(tags["b"]["last_check"]) == 5 * SECOND
    # not within its window at all: no later than the window's end
    assert at(tags["late"]["last_pull"]) == last + 5 * SECOND
    row, = db.rows("select *, window_end <= now() as past from pulltap.windows")
    assert row["past"] and at(row["window_end"]) - at(row["window_start"]) == 10 * SECOND
    moved = row["counters"]["time_ahead_ms"]
    assert 26 * 3600 * 1000 - 60000 < moved <= 26 * 3600 * 1000
    assert db.value("select bool_and(last_day <= (now() at time zone 'utc')::date) as past "
                    "from pulltap.tags")
    assert at(tags["a"]["observed_since"]) == at(row["window_start"])
    assert "clock is ahead of the database" in tool.stderr()


def test_window_of_the_past_keeps_its_times(db, tool):
    tool.apply(window(record(GET, "a", digest(1), NOON), start=NOON - SECOND, end=NOON))
    row, = db.rows("select * from pulltap.windows")
    assert (at(row["window_start"]), at(row["window_end"])) == (NOON - SECOND, NOON)
    assert "time_ahead_ms" not in row["counters"]


def gaps_between(db, tool, *windows):
    """start, end and pause of each, in seconds; the gaps found as seconds."""
    before = 0
    for start, end, pause, *more in windows:
        more = {"before": before, **dict(more)}
        tool.apply(window(record(GET, "a", digest(1), NOON + start * SECOND),
                          start=NOON + start * SECOND, end=NOON + end * SECOND,
                          pause_us=pause if pause < 0 else pause * SECOND, **more))
        before = db.value("select max(sequence) as last from pulltap.windows")
    return [(row["seconds"], row["missing_sequences"]) for row in db.rows(
        "select extract(epoch from duration)::float8 as seconds, missing_sequences "
        "from pulltap.gaps where reason = 'not watched' order by sequence_after")]


def test_clock_set_forward_between_windows_is_no_gap(db, tool):
    assert gaps_between(db, tool, (0, 10, 0), (3610, 3620, 0), (3620, 3630, 0)) == []


def test_clock_set_back_hides_no_gap(db, tool):
    assert gaps_between(db, tool, (0, 10, 0), (-3000, -2990, 590)) == [(590, 0)]


def test_pause_that_nobody_knows_is_told_by_the_clock(db, tool):
    assert gaps_between(db, tool, (0, 10, -1), (100, 110, -1), (110, 120, -1)) == [(90, 0)]


def test_window_that_never_came_is_a_gap_though_its_follower_did_not_pause(db, tool):
    assert gaps_between(db, tool, (0, 10, 0, ("sequence", 4)), (20, 30, 0, ("sequence", 6), ("before", 5))
                        ) == [(10, 1)]


def test_numbers_that_were_never_used_are_not_missing(db, tool):
    assert gaps_between(db, tool, (0, 10, 0, ("sequence", 4)),
                        (3700, 3710, 30, ("sequence", 6))) == [(30, 0)]


def test_merged_window_stands_for_all_its_numbers(db, tool):
    assert gaps_between(db, tool, (0, 10, 0, ("sequence", 4)),
                        (10, 50, 0, ("sequence", 8), ("merged", 4))) == []
    assert db.value("select pause_before = interval '0' as none from pulltap.windows "
                    "where merged = 4")
