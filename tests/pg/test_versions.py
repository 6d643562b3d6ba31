# SPDX-License-Identifier: MIT
"""Which digest a tag named, from when to when, and what showed it."""
import itertools

import pytest
from model import DELETE, GET, HEAD, HINTED, MINUTE, NOON, PUT, digest, record, text, window

A, B, C = digest(0xA), digest(0xB), digest(0xC)


def versions(db, tag="v1"):
    return [(r["digest"], r["valid_from"], r["valid_to"], r["started_by"], r["ended_by"])
            for r in db.rows(f"select * from pulltap.tag_history where tag = '{tag}' "
                             "order by valid_from")]


def at(minutes):
    return NOON + minutes * MINUTE


def when(minutes):
    return text(at(minutes))


def apply_each(tool, *events):
    for op, dig, minute in events:
        tool.apply(window(record(op, "v1", dig, at(minute))))


def test_put_pull_and_delete_make_versions_with_their_evidence(db, tool):
    apply_each(tool, (PUT, A, 0), (GET, A, 1), (GET, B, 2), (HEAD, C, 3), (DELETE, "", 4),
               (PUT, A, 5))
    assert versions(db) == [
        (A, when(0), when(2), "put", "pull"), (B, when(2), when(3), "pull", "check"),
        (C, when(3), when(4), "check", "delete"), (A, when(5), None, "put", None)]
    assert db.rows("select digest, digest_seen, last_delete from pulltap.tags") == [
        {"digest": A, "digest_seen": when(5), "last_delete": when(4)}]


def test_last_seen_of_a_version_is_its_newest_observation(db, tool):
    apply_each(tool, (GET, A, 0), (GET, A, 3), (GET, B, 7), (GET, B, 8))
    assert [r["last_seen"] for r in db.rows("select * from pulltap.tag_history order by valid_from")
            ] == [when(3), when(8)]


def test_deleted_tag_has_no_digest(db, tool):
    apply_each(tool, (PUT, A, 0), (DELETE, "", 1))
    assert db.value("select digest from pulltap.tags") is None
    assert db.value("select tags from pulltap.manifests") == []


def test_delete_by_digest_ends_every_tag_that_names_it(db, tool):
    tool.apply(window(*[record(PUT, tag, dig, at(0)) for tag, dig in
                        (("v1", A), ("v2", A), ("v3", B))],
                      record(PUT, "v1", A, at(0), repository="other")))
    tool.apply(window(record(DELETE, "", A, at(1))))
    rows = db.rows("select repository, tag, digest from pulltap.tags order by 1, 2")
    assert [(r["repository"], r["tag"], r["digest"]) for r in rows] == [
        ("library/alpine", "v1", None), ("library/alpine", "v2", None),
        ("library/alpine", "v3", B), ("other", "v1", A)]
    assert versions(db, "v2") == [(A, when(0), when(1), "put", "delete")]
    assert db.value("select last_delete from pulltap.manifests "
                    f"where repository = 'library/alpine' and digest = '{A}'") == when(1)


def test_delete_by_digest_before_a_new_push_in_one_window_keeps_the_push(db, tool):
    apply_each(tool, (PUT, A, 0))
    tool.apply(window(record(DELETE, "", A, at(1)), record(PUT, "v1", A, at(2))))
    assert versions(db) == [(A, when(0), when(1), "put", "delete"),
                            (A, when(2), None, "put", None)]


def test_several_digests_within_one_window_are_ordered_by_time(db, tool):
    apply_each(tool, (GET, A, 0))
    tool.apply(window(record(GET, "v1", C, at(3)), record(GET, "v1", A, at(1)),
                      record(PUT, "v1", B, at(2)), record(HEAD, "v1", C, at(4))))
    assert [v[:3] for v in versions(db)] == [(A, when(0), when(2)), (B, when(2), when(3)),
                                             (C, when(3), None)]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_windows_in_any_order_make_the_same_history(db, tool, order):
    """Four pushes, replayed out of order by agents behind an outage."""
    parts = [window(record(PUT, "v1", dig, at(minute)))
             for minute, dig in enumerate((A, B, A, C))]
    for i in order:
        tool.apply(parts[i])
    assert [v[:3] for v in versions(db)] == [
        (A, when(0), when(1)), (B, when(1), when(2)), (A, when(2), when(3)), (C, when(3), None)]
    assert db.value("select digest from pulltap.tags") == C


def test_late_news_of_the_same_digest_moves_the_beginning_back(db, tool):
    apply_each(tool, (GET, A, 5), (HEAD, A, 2))
    assert versions(db) == [(A, when(2), None, "check", None)]


def test_late_other_digest_splits_a_version_at_what_is_known(db, tool):
    apply_each(tool, (GET, A, 0), (GET, A, 10), (GET, B, 5))
    assert [v[:3] for v in versions(db)] == [(A, when(0), when(5)), (B, when(5), when(10)),
                                             (A, when(10), None)]


def test_late_pull_from_before_a_deletion(db, tool):
    apply_each(tool, (DELETE, "", 5), (GET, A, 2))
    assert versions(db) == [(A, when(2), when(5), "pull", "delete")]
    assert db.value("select digest from pulltap.tags") is None


def test_push_within_the_second_of_old_pulls_wins(db, tool):
    """The kernel keeps whole seconds: everything around a push has one time."""
    tool.apply(window(record(GET, "v1", A, at(0))))
    tool.apply(window(record(GET, "v1", B, at(1)), record(GET, "v1", A, at(1)),
                      record(PUT, "v1", B, at(1))))
    assert db.value("select digest from pulltap.tags") == B
    assert [v[0] for v in versions(db)] == [A, B]


def test_push_in_the_next_window_but_the_same_second_wins(db, tool):
    apply_each(tool, (GET, A, 0), (PUT, B, 0), (GET, B, 0))
    assert db.value("select digest from pulltap.tags") == B
    assert [v[0] for v in versions(db)] == [A, B]


def test_hint_does_not_bring_back_what_a_push_replaced(db, tool):
    apply_each(tool, (HEAD, A, 0), (PUT, B, 1), (HINTED, A, 2))
    assert [v[:3] for v in versions(db)] == [(A, when(0), when(1)), (B, when(1), None)]


def test_hint_alone_names_the_digest(db, tool):
    apply_each(tool, (HINTED, A, 2))
    assert db.value("select digest from pulltap.tags") == A


def test_push_without_digest_changes_no_version(db, tool):
    apply_each(tool, (GET, A, 0), (PUT, "", 1))
    assert [v[0] for v in versions(db)] == [A]
    assert db.value("select pushes from pulltap.tags") == 1
