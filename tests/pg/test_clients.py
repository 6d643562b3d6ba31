# SPDX-License-Identifier: MIT
"""What rules excluded, per tag and manifest and per rule, and counts by kind of client."""
from model import DAY, GET, HEAD, HINTED, MINUTE, NOON, PUT, digest, record, text, window

EXCLUDED, RULE, PULL, CHECK, HINTED_PULL = 8, 9, 10, 11, 12
D1, D2 = digest(1), digest(2)


def named(op, name, at=NOON, count=1, registry="hub"):
    return record(op, name, "", at, count, repository="", registry=registry)


def rules(db):
    return [(r["registry"], r["rule"], r["excluded"], r["first_excluded"], r["last_excluded"])
            for r in db.rows("select * from pulltap.rules order by registry, rule")]


def clients(db):
    return [(r["registry"], r["day"], r["client"], r["pulls"], r["checks"])
            for r in db.rows("select * from pulltap.clients order by registry, day, client")]


def excluded(db, view, name):
    return {row[name]: (row["pulls"], row["checks"], row["excluded"], row["last_excluded"],
                        row["last_used"])
            for row in db.rows(f"select * from pulltap.{view}")}


def test_excluded_request_is_in_no_other_count(db, tool):
    tool.apply(window(record(GET, "v1", D1, NOON, 3), record(EXCLUDED, "v1", D1, NOON + 9, 5),
                      record(EXCLUDED, "", D2, NOON + 7, 2), named(RULE, "scanner", NOON + 9, 7)))
    assert excluded(db, "tags", "tag") == {"v1": (3, 0, 5, text(NOON + 9), text(NOON))}
    assert excluded(db, "manifests", "digest") == {
        D1: (3, 0, 5, text(NOON + 9), text(NOON)), D2: (0, 0, 2, text(NOON + 7), None)}
    assert rules(db) == [("hub", "scanner", 7, text(NOON + 9), text(NOON + 9))]
    assert db.value("select count(*) from pulltap.tag_daily") == 1
    assert db.value("select count(*) from pulltap.manifest_daily") == 1


def test_excluded_counts_add_up_and_keep_the_latest_time(db, tool):
    for at, count in ((NOON, 1), (NOON + MINUTE, 2), (NOON - MINUTE, 4)):
        tool.apply(window(record(EXCLUDED, "v1", D1, at, count), named(RULE, "a", at, count),
                          named(RULE, "b", at, 1)))
    assert excluded(db, "tags", "tag") == {"v1": (0, 0, 7, text(NOON + MINUTE), None)}
    assert rules(db) == [("hub", name, count, text(NOON - MINUTE), text(NOON + MINUTE))
                         for name, count in (("a", 7), ("b", 3))]


def test_excluded_request_is_no_evidence_of_what_a_tag_names(db, tool):
    tool.apply(window(record(PUT, "v1", D1, NOON), record(EXCLUDED, "v1", D2, NOON + MINUTE)))
    assert db.value("select digest from pulltap.tags") == D1
    assert db.value("select count(*) from pulltap.tag_history") == 1


def test_window_applied_twice_excludes_once(db, tool):
    tool.write(window(record(EXCLUDED, "v1", D1), named(RULE, "a"), named(PULL, "docker")))
    tool.apply(keep=True)
    tool.apply(expect="duplicate")
    assert [r[2] for r in rules(db)] == [1]
    assert [c[3] for c in clients(db)] == [1]
    assert excluded(db, "tags", "tag")["v1"][2] == 1


def test_clients_are_counted_by_day_and_registry(db, tool):
    tool.apply(window(named(PULL, "docker", NOON, 3), named(CHECK, "docker", NOON, 5),
                      named(HINTED_PULL, "docker", NOON, 4), named(PULL, "curl", NOON + DAY),
                      named(CHECK, "docker", NOON, 1, registry="other")))
    tool.apply(window(named(PULL, "docker", NOON + MINUTE, 1)))
    assert clients(db) == [("hub", "2026-03-04", "docker", 8, 1), ("hub", "2026-03-05", "curl", 1, 0),
                           ("other", "2026-03-04", "docker", 0, 1)]
    # they are no pulls of their own
    assert db.rows("select * from pulltap.tags") == []


def test_name_that_no_column_holds_is_rejected(db, tool):
    tool.apply(window(named(RULE, "", count=2), named(RULE, "a"), record(HEAD, "v1", D1),
                      named(PULL, "x", registry="")))
    assert sorted((r["reason"], r["count"]) for r in db.rows("select * from pulltap.rejects")) == [
        ("count of a rule or a client is malformed", count) for count in (1, 2)]
    assert [r[1] for r in rules(db)] == ["a"]


def test_hinted_pull_and_excluded_one_of_one_tag_stay_apart(db, tool):
    tool.apply(window(record(HEAD, "v1", D1, NOON, 2), record(HINTED, "v1", D1, NOON, 1),
                      record(EXCLUDED, "v1", D1, NOON, 1)))
    assert excluded(db, "tags", "tag")["v1"][:3] == (1, 1, 1)
