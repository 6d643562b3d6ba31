# SPDX-License-Identifier: MIT
"""Counts, days and times against the model."""
import random

import pytest
from model import (DAY, DELETE, GET, HEAD, HINTED, MINUTE, NOON, PUT, Model, compare, daily, digest,
                   history, record, window)


def random_window(rng, start, keys, events):
    """Distinct times, so that the order of events is not a matter of taste."""
    records = []
    for at in sorted(rng.sample(range(start, start + MINUTE), events)):
        repository = f"team/app{rng.randrange(4)}"
        tag = f"v{rng.randrange(keys)}"
        dig = digest(rng.randrange(6))
        op = rng.choice([GET] * 5 + [HEAD] * 4 + [PUT, DELETE, HINTED])
        if op in (GET, HEAD):
            tag, dig = rng.choice([(tag, dig), (tag, dig), (tag, ""), ("", dig)])
        if op == DELETE:
            dig = ""
        records.append(record(op, tag, dig, at, rng.randrange(1, 50), repository))
    # one digest deleted at the very end of the window
    records.append(record(DELETE, "", digest(rng.randrange(6)), start + MINUTE))
    rng.shuffle(records)
    return window(*records, start=start, end=start + MINUTE)


@pytest.mark.parametrize("seed", range(6))
def test_random_windows_in_order_equal_the_model(db, tool, seed):
    rng, model = random.Random(seed), Model()
    start = NOON
    for _ in range(25):
        item = random_window(rng, start, 5, rng.randrange(1, 120))
        tool.apply(item)
        model.add(item)
        start += rng.choice([MINUTE + 1, 5 * MINUTE, 7 * 60 * MINUTE])
    compare(db, model)
    known = {key[:3] for key in model.versions()}
    # a hint alone makes a version where nothing else is known, which the model leaves out
    hinted = {(e["registry"], e["repository"], e["tag"]) for e in model.events
              if e["op"] == HINTED}
    assert [v for v in history(db) if v[:3] in known - hinted] == \
        [v for v in model.versions() if v[:3] not in hinted]
    assert known - hinted or hinted


@pytest.mark.parametrize("seed", range(4))
def test_windows_out_of_order_keep_totals_and_days(db, tools, seed):
    """Three agents, each in its own order, interleaved by chance over several days."""
    rng, model = random.Random(100 + seed), Model()
    agents = [tools(db.conninfo, node=f"node-{i}") for i in range(3)]
    windows = [[], [], []]
    for i in range(30):
        windows[i % 3].append(random_window(rng, NOON + i * 5 * 60 * MINUTE, 5, 60))
    for part in windows:
        rng.shuffle(part)
    while any(windows):
        i = rng.choice([n for n in range(3) if windows[n]])
        item = windows[i].pop()
        agents[i].apply(item)
        model.add(item)
    compare(db, model)
    check_versions(db, model)


def check_versions(db, model):
    """Whatever the order: versions of a tag never overlap, the current one is the newest."""
    assert db.value("""select count(*) from pulltap.tag_version a join pulltap.tag_version b
        on a.tag_id = b.tag_id and a.valid_from < b.valid_from
        and (a.valid_to is null or a.valid_to > b.valid_from)""") == 0
    assert db.value("""select count(*) from pulltap.tag_total t
        left join pulltap.tag_version v on v.tag_id = t.tag_id and v.valid_to is null
        where t.manifest_id is distinct from v.manifest_id""") == 0
    newest = {}
    for event in sorted(model.events, key=lambda e: e["last_us"]):
        key = (event["registry"], event["repository"], event["tag"])
        if event["tag"] and event["op"] == DELETE:
            newest[key] = None
        elif event["op"] == DELETE:
            for other in [k for k, d in newest.items()
                          if k[:2] == key[:2] and d == event["digest"]]:
                newest[other] = None
        elif event["tag"] and event["digest"] and event["op"] != HINTED:
            newest[key] = event["digest"]
    hinted = {(e["registry"], e["repository"], e["tag"]) for e in model.events
              if e["op"] == HINTED}
    current = {(r["registry"], r["repository"], r["tag"]): r["digest"]
               for r in db.rows("select * from pulltap.tags")}
    for key in newest.keys() - hinted:
        assert current[key] == newest[key], key


def test_pull_by_tag_counts_for_tag_and_manifest(db, tool):
    tool.apply(window(record(GET, "latest", digest(1), count=3)))
    assert db.rows("select tag, digest, pulls, checks from pulltap.tags") == [
        {"tag": "latest", "digest": digest(1), "pulls": 3, "checks": 0}]
    assert db.rows("select digest, tags, pulls from pulltap.manifests") == [
        {"digest": digest(1), "tags": ["latest"], "pulls": 3}]


def test_pull_without_digest_counts_for_the_tag_only(db, tool):
    tool.apply(window(record(GET, "latest", "")))
    assert db.rows("select digest, pulls from pulltap.tags") == [{"digest": None, "pulls": 1}]
    assert db.rows("select * from pulltap.manifests") == []


def test_pull_by_digest_counts_for_the_manifest_only(db, tool):
    tool.apply(window(record(GET, "", digest(1))))
    assert db.rows("select * from pulltap.tags") == []
    assert db.value("select pulls from pulltap.manifests") == 1


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_hinted_get_turns_its_check_into_a_pull_in_either_order(db, tool, order):
    parts = [window(record(HEAD, "v1", digest(1), NOON, 2)),
             window(record(HINTED, "v1", digest(1), NOON + 5, 2))]
    for i in order:
        tool.apply(parts[i])
    for view in ("tags", "manifests"):
        assert db.rows(f"select pulls, checks from pulltap.{view}") == [{"pulls": 2, "checks": 0}]
    assert len(history(db)) == 1


def test_check_before_midnight_and_its_get_after_sum_up(db, tool):
    midnight = (NOON // DAY + 1) * DAY
    model = Model()
    for item in (window(record(HEAD, "v1", digest(1), midnight - 1)),
                 window(record(HINTED, "v1", digest(1), midnight + 1))):
        tool.apply(item)
        model.add(item)
    compare(db, model)
    assert [counts for _, counts in sorted(daily(db, "tag_daily", "tag").items())] == \
        [[0, 1], [1, -1]]


def test_a_day_reaches_history_once_and_late_windows_join_it(db, tool):
    model = Model()
    for days, count in ((0, 1), (0, 2), (1, 4), (0, 8), (3, 16), (1, 32), (2, 64)):
        item = window(record(GET, "v1", digest(1), NOON + days * DAY, count))
        tool.apply(item)
        model.add(item)
    compare(db, model)
    assert db.value("select count(*) from pulltap.tag_day") == 3  # the newest is in the row
    assert db.value("select last_day from pulltap.tags") == "2026-03-07"


def test_one_window_over_several_days_splits_by_day(db, tool):
    """Merged after an outage: days in one window, in any order, for known and new rows."""
    model = Model()
    for base in (0, 2):
        records = [record(op, "v1", digest(i), NOON + (base + days) * DAY + op, 1 + i)
                   for days in (2, 0, 1) for op in (HEAD, GET) for i in (1, 2)]
        item = window(*records, merged=3, sequence=3 + 2 * base)
        tool.apply(item)
        model.add(item)
    compare(db, model)


def test_observed_since_is_the_earliest_window(db, tools):
    tools(db.conninfo).apply(window(record(GET, "a", digest(1)), start=NOON))
    tools(db.conninfo).apply(window(record(GET, "a", digest(1)), start=NOON - DAY))
    assert db.value("select observed_since from pulltap.tags") == "2026-03-03T12:00:00+00:00"


def test_last_used_is_the_later_of_pull_and_check(db, tool):
    tool.apply(window(record(GET, "a", "", NOON), record(HEAD, "a", "", NOON + 7),
                      record(GET, "b", "", NOON + 9), record(PUT, "c", digest(1), NOON)))
    rows = db.rows("select tag, last_used = greatest(last_pull, last_check) as same, last_used "
                   "from pulltap.tags order by tag")
    assert [row["same"] for row in rows] == [True, True, None]
    assert rows[0]["last_used"].endswith("12:00:00.000007+00:00")


def test_updates_stay_within_their_page(db, tool):
    """An index on a column that changes with every pull would end that."""
    for minute in range(30):
        tool.apply(window(*[record(GET, f"v{i}", digest(i), NOON + minute * MINUTE)
                            for i in range(200)]))
    db.execute("select pg_stat_force_next_flush()")
    tool.close()
    row, = db.rows("select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables "
                   "where relname = 'tag_total'")
    # the first update of the day moves last_day; pages fill before they are pruned once
    assert row["n_tup_upd"] == 6000
    assert row["n_tup_hot_upd"] > 0.9 * (row["n_tup_upd"] - 200)


def test_more_keys_than_one_call_takes(db, tool):
    records = [record(GET, f"t{i}", digest(i), NOON + i, 1 + i % 7) for i in range(45000)]
    tool.apply(window(*records))
    tool.apply(window(*records))
    assert db.rows("select count(*), sum(pulls) as pulls from pulltap.tags") == [
        {"count": 45000, "pulls": 2 * sum(1 + i % 7 for i in range(45000))}]
    assert db.rows("select count(*), sum(pulls) as pulls from pulltap.manifests") == [
        {"count": 45000, "pulls": 2 * sum(1 + i % 7 for i in range(45000))}]


def test_interning_again_burns_no_identifiers(db, tools):
    item = window(*[record(GET, f"v{i}", digest(i)) for i in range(50)])
    for _ in range(5):
        tools(db.conninfo).apply(item)  # a new store each time: an empty cache
    tools(db.conninfo).apply(window(record(GET, "new", digest(99))))
    for table in ("tag", "manifest"):
        assert db.value(f"select max({table}_id) from pulltap.{table}") == 51
