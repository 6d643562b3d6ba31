# SPDX-License-Identifier: MIT
"""The stable interface: every column documented, every dashboard's query works."""
import glob
import json
import os
import re

import pytest
from model import DAY, DELETE, GET, HEAD, HINTED, MINUTE, NOON, PUT, digest, record, text, window

ROOT = os.path.join(os.path.dirname(__file__), "..", "..")
DASHBOARDS = sorted(glob.glob(os.path.join(ROOT, "deploy", "grafana", "dashboards", "*.json")))


def documented():
    """{view: [columns]} of docs/schema.md, in order."""
    views, view = {}, None
    with open(os.path.join(ROOT, "docs", "schema.md")) as docs:
        for line in docs:
            if line.startswith("#"):
                name = re.match(r"### `pulltap\.(\w+)`", line)
                view = name and views.setdefault(name[1], [])
            elif view is not None and re.match(r"\| `\w+` \|", line):
                view.append(re.match(r"\| `(\w+)` \|", line)[1])
    return views


def test_every_view_and_column_is_documented(db):
    actual = {}
    for row in db.rows("select table_name, column_name from information_schema.columns "
                       "join information_schema.views using (table_schema, table_name) "
                       "where table_schema = 'pulltap' order by table_name, ordinal_position"):
        actual.setdefault(row["table_name"], []).append(row["column_name"])
    assert documented() == actual


def test_every_table_is_documented(db):
    with open(os.path.join(ROOT, "docs", "schema.md")) as docs:
        part = docs.read().split("## Tables")[1]
    names = set(re.findall(r"`(\w+)`", "\n".join(
        line.split("|")[1] for line in part.splitlines() if line.startswith("| `"))))
    actual = {r["relname"] for r in db.rows(
        "select relname from pg_class where relnamespace = 'pulltap'::regnamespace "
        "and relkind in ('r', 'p') and not relispartition")}
    assert names == actual


@pytest.fixture
def populated(db, tools):
    """Two nodes, losses, a gap, a window out of balance, rejected rows, old and recent use."""
    now = db.value("select (extract(epoch from now()) * 1000000)::bigint")
    first, second = tools(db.conninfo, node="node-1"), tools(db.conninfo, node="node-2")
    first.apply(window(record(GET, "old", digest(1), now - 40 * DAY, 3),
                       record(PUT, "old", digest(1), now - 41 * DAY),
                       record(PUT, "unused", digest(2), now - 41 * DAY)))
    for i in range(3):
        end = now - (3 - i) * MINUTE
        broken = record(GET, at=end)
        del broken["tag"]
        broken["tag_hex"] = "ff"
        first.apply(window(record(GET, "latest", digest(3 + i), end, 5 + i),
                           record(HEAD, "latest", digest(3 + i), end), broken,
                           start=end - MINUTE, end=end,
                           ledger={"seen": 30, "counted": 20, "filtered_status_404": 8,
                                   "lost_map_full": 1 + (i == 1), "lost_fault": 1}))
    second.apply({**window(record(GET, "latest", digest(9), now - 9 * MINUTE),
                           start=now - 10 * MINUTE, end=now - 9 * MINUTE), "sequence": 1})
    second.apply({**window(record(DELETE, "gone", digest(9), now), start=now - MINUTE, end=now),
                  "sequence": 4})
    db.now = now
    return db


def test_windows_say_whether_they_balance(populated):
    rows = populated.rows("select seen, counted, filtered, lost, balanced from pulltap.windows "
                          "where seen > 0 order by window_end")
    assert [(r["filtered"], r["lost"], r["balanced"]) for r in rows] == [
        (8, 2, True), (8, 3, False), (8, 2, True)]


def test_unbalanced_shows_the_windows_that_do_not_add_up_and_by_how_much(populated):
    rows = populated.rows("select node, sequence, seen, counted, filtered, lost, difference, "
                          "counters from pulltap.unbalanced")
    assert rows == [{"node": "node-1", "sequence": 3, "seen": 30, "counted": 20, "filtered": 8,
                     "lost": 3, "difference": -1, "counters": {
                         "seen": 30, "counted": 20, "filtered_status_404": 8,
                         "lost_map_full": 2, "lost_fault": 1}}]


def test_losses_name_their_reason(populated):
    rows = populated.rows("select node, reason, sum(count) as count from pulltap.losses "
                          "group by 1, 2 order by 2")
    assert rows == [{"node": "node-1", "reason": "lost_fault", "count": 3},
                    {"node": "node-1", "reason": "lost_map_full", "count": 4}]


def test_gaps_are_time_nobody_watched_and_windows_that_never_came(populated):
    rows = populated.rows("select node, missing_sequences, extract(epoch from duration)::bigint "
                          "as seconds from pulltap.gaps order by node")
    assert rows[1] == {"node": "node-2", "missing_sequences": 2, "seconds": 480}
    assert len(rows) == 2 and rows[0]["missing_sequences"] == 0  # 40 days before the first minute


def test_fleet_shows_each_agent_with_its_newest_window(populated):
    rows = populated.rows("select node, version, last_sequence, last_window_end, "
                          "behind < interval '5 minutes' as fresh, lost, lost_24h, "
                          "unbalanced_24h from pulltap.fleet order by node")
    assert rows[0] == {"node": "node-1", "version": "test", "last_sequence": 4,
                       "last_window_end": text(populated.now - MINUTE), "fresh": True, "lost": 2,
                       "lost_24h": 7, "unbalanced_24h": 1}
    assert (rows[1]["last_sequence"], rows[1]["lost_24h"], rows[1]["unbalanced_24h"]) == (4, 0, 0)


def test_trouble_is_found_by_its_index_however_many_windows_there_are(populated):
    for view in ("unbalanced", "losses", "fleet"):
        plan = populated.psql("set enable_seqscan = off; explain select * from "
                              f"pulltap.{view}").stdout
        assert "window_account_trouble" in plan, plan


def test_repositories_sum_tags_and_manifests(populated):
    row, = populated.rows("select * from pulltap.repositories")
    assert (row["tags"], row["manifests"]) == (4, 6)
    assert row["tag_pulls"] == row["manifest_pulls"] == 3 + 5 + 6 + 7 + 1
    assert row["tag_checks"] == 3


def test_notions_of_others_are_what_they_would_have_counted(db, tool):
    """Two pulls by name, three by HEAD and GET, four checks, five pulls and six checks by digest."""
    tool.apply(window(
        record(GET, "v1", digest(1), NOON + 1, 2), record(HEAD, "v1", digest(1), NOON + 3, 3 + 4),
        record(HINTED, "v1", digest(1), NOON + 4, 3), record(GET, "", digest(1), NOON + 5, 5),
        record(HEAD, "", digest(1), NOON + 6, 6)))

    def row(view):
        found, = db.rows(f"select pulls, last_pull from pulltap.{view}")
        return found["pulls"], found["last_pull"]

    assert row("tags") == (2 + 3, text(NOON + 4))
    assert row("manifests") == (2 + 3 + 5, text(NOON + 5))
    assert row("tags_as_quay") == (2 + 3 + 4, text(NOON + 4))
    assert row("manifests_as_quay") == (2 + 2 * 3 + 4 + 5 + 6, text(NOON + 6))
    assert row("tags_as_harbor") == (2, text(NOON + 1))
    assert row("manifests_as_harbor") == (2 + 3 + 5, text(NOON + 5))


def test_longest_unused_page_uses_the_index(populated):
    plan = populated.psql("set enable_seqscan = off; explain select tag from pulltap.tags "
                          "order by last_day_number, tag_id limit 10").stdout
    assert "tag_total_last_day" in plan


def panels():
    for path in DASHBOARDS:
        with open(path) as file:
            dashboard = json.load(file)
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                yield pytest.param(target["rawSql"], id=panel["title"])
        for variable in dashboard["templating"]["list"]:
            yield pytest.param(variable["query"], id="variable " + variable["name"])


@pytest.mark.parametrize("sql", panels())
def test_dashboard_query_answers_for_a_reader(populated, sql):
    """With Grafana's macros written out as it does."""
    populated.execute(f"create role viewer_{populated.name} login in role pulltap_reader")
    past, later = "now() - interval '60 days'", "now() + interval '1 hour'"
    sql = re.sub(r"\$__timeFilter\((.*?)\)(?= |\n|$)", rf"\1 between {past} and {later}", sql)
    sql = sql.replace("$__timeFrom()", past).replace("$__timeTo()", later)
    sql = sql.replace("${registry:sqlstring}", "'hub'")
    assert "$" not in sql
    done = populated.psql(sql, user=f"viewer_{populated.name}")
    assert done.stdout.strip(), "a populated database has something to show"


def test_dashboards_are_whole():
    assert DASHBOARDS
    for path in DASHBOARDS:
        with open(path) as file:
            dashboard = json.load(file)
        ids = [panel["id"] for panel in dashboard["panels"]]
        assert len(ids) == len(set(ids))
        places = set()
        for panel in dashboard["panels"]:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"])
                     for y in range(at["y"], at["y"] + at["h"])}
            assert not cells & places and at["x"] + at["w"] <= 24, panel["title"]
            places |= cells
            assert panel["description"] and panel["datasource"]["uid"] == "pulltap"
