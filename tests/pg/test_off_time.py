# SPDX-License-Identifier: MIT
"""The kill switch's side of the database: rows that say on or off, and the time switched off."""
import subprocess

import pytest

from model import GET, NOON, digest, record, text, window

OFF = 6
SECOND, MINUTE = 1_000_000, 60_000_000


def told(db, *statements):
    """How many notifications a listener gets."""
    done = subprocess.run(
        ["psql", "-XAtq", "-h", db.cluster.socket, "-U", "postgres", "-d", db.name],
        input="listen pulltap_feature_flag;\n" + "".join(f"{one};\n" for one in statements),
        capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout.count('"pulltap_feature_flag"')


def test_every_change_of_a_flag_is_told(db):
    assert told(db, "insert into pulltap.feature_flag values ('fleet', 'off')") == 1
    assert told(db, "update pulltap.feature_flag set value = 'on'") == 1
    assert told(db, "insert into pulltap.feature_flag values ('node:a b', 'off') "
                    "on conflict (scope) do update set value = excluded.value") == 1
    assert told(db, "delete from pulltap.feature_flag") == 1
    assert told(db, "truncate pulltap.feature_flag") == 1
    assert told(db, "begin", "insert into pulltap.feature_flag values ('fleet', 'off')",
                "rollback") == 0


def test_row_names_who_and_when_also_after_an_update(db):
    db.execute("create role oncall_test login; grant usage on schema pulltap to oncall_test; "
               "grant select, insert, update, delete on pulltap.feature_flag to oncall_test")
    db.execute("insert into pulltap.feature_flag (scope, value, set_by, set_at) "
               "values ('fleet', 'off', 'alice, incident 7', '2020-01-01')")
    row, = db.rows("select * from pulltap.feature_flag")
    assert row["set_by"] == "alice, incident 7" and row["set_at"].startswith("2020")
    db.psql("update pulltap.feature_flag set value = 'on'", user="oncall_test")
    row, = db.rows("select *, set_at > now() - interval '1 minute' as fresh "
                   "from pulltap.feature_flag")
    assert (row["set_by"], row["fresh"]) == ("oncall_test", True)
    db.execute("drop owned by oncall_test; drop role oncall_test")


@pytest.mark.parametrize("row", ["'flet', 'off'", "'node:', 'off'", "'fleet', 'OFF!'",
                                 "'registry', 'on'"])
def test_row_that_no_agent_understands_is_refused(db, row):
    done = db.psql(f"insert into pulltap.feature_flag values ({row})", check=False)
    assert "violates check constraint" in done.stderr


def off(source, until, ms, said_by="", registry=""):
    return {"op": OFF, "registry": registry, "repository": said_by, "tag": source,
            "digest": "", "count": ms, "last_us": until}


def gaps(db):
    return db.rows("select sequence_before, sequence_after, gap_start, gap_end, reason, registry, "
                   "extract(epoch from duration)::float8 as seconds from pulltap.gaps "
                   "order by gap_start, reason")


def test_time_switched_off_is_one_gap_over_all_its_windows(db, tool):
    start = NOON
    # counted, then off for the last 10 s of a window and two whole ones, then counted again
    tool.apply(window(record(GET, "v1", digest(1), NOON),
                      off("operator", start + MINUTE, 10_000, "root"),
                      start=start, end=start + MINUTE))
    for number in (1, 2):
        tool.apply(window(off("operator", start + (number + 1) * MINUTE, 60_000, "root"),
                          start=start + number * MINUTE, end=start + (number + 1) * MINUTE))
    tool.apply(window(record(GET, "v1", digest(1), start + 4 * MINUTE),
                      start=start + 3 * MINUTE, end=start + 4 * MINUTE))
    assert gaps(db) == [{
        "sequence_before": 1, "sequence_after": 3, "gap_start": text(start + 50 * SECOND),
        "gap_end": text(start + 3 * MINUTE), "reason": "switched off: operator (root)",
        "registry": None, "seconds": 130}]
    assert db.rows("select tag, pulls from pulltap.tags") == [{"tag": "v1", "pulls": 2}]
    assert db.rows("select * from pulltap.rejects") == []


def test_two_times_two_sources_and_one_registry_are_gaps_of_their_own(db, tool):
    tool.apply(window(off("file", NOON + SECOND, 500, "/etc/off"),
                      off("database", NOON + SECOND, 500, "fleet"),
                      off("guard", NOON + SECOND, 250, registry="hub"),
                      off("late", NOON + SECOND, 14, registry="new"),
                      start=NOON, end=NOON + MINUTE))
    tool.apply(window(off("file", NOON + 2 * MINUTE, 3_000, "/etc/off"),
                      start=NOON + MINUTE, end=NOON + 2 * MINUTE))
    found = [(row["reason"], row["registry"], row["seconds"]) for row in gaps(db)]
    assert found == [("switched off: database (fleet)", None, 0.5),
                     ("switched off: file (/etc/off)", None, 0.5),
                     ("switched off: guard", "hub", 0.25),
                     ("probed after its start", "new", 0.014),
                     ("switched off: file (/etc/off)", None, 3)]


def test_window_applied_twice_is_one_gap(db, tool):
    tool.apply(window(off("signal", NOON, 1_000), start=NOON - MINUTE, end=NOON), keep=True)
    tool.apply(expect="duplicate")
    assert [row["seconds"] for row in gaps(db)] == [1]


def test_malformed_record_is_put_aside_and_holds_nothing_up(db, tool):
    tool.apply(window(off("operator", NOON, 1 << 50), record(GET, "v1", digest(1)),
                      start=NOON - MINUTE, end=NOON + 1))
    assert gaps(db) == []
    assert db.rows("select reason, count from pulltap.rejects") == [
        {"reason": "time switched off is malformed", "count": 1 << 50}]
    assert db.rows("select pulls from pulltap.tags") == [{"pulls": 1}]
