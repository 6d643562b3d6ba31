# SPDX-License-Identifier: MIT
"""An index and its children: learned from records, and what either tells about the other's use."""
from model import CHILD, GET, HEAD, MINUTE, NOON, digest, record, text, window

INDEX, CHILD_1, CHILD_2, OTHER = (digest(i) for i in (0x1DE, 0xC1, 0xC2, 0x07))


def child(index, dig, at=NOON, count=1, **more):
    return record(CHILD, index, dig, at, count, **more)


def relations(db):
    return [(r["index_digest"], r["child_digest"], r["seen"], r["first_seen"], r["last_seen"])
            for r in db.rows("select * from pulltap.manifest_children order by child_digest")]


def in_use(db):
    return {r["digest"]: r for r in db.rows("select * from pulltap.manifests_in_use")}


def test_relation_counts_its_evidence_and_nothing_else(db, tool):
    tool.apply(window(record(GET, "v1", INDEX, NOON, 3), child(INDEX, CHILD_1, NOON, 2),
                      child(INDEX, CHILD_2, NOON + 1)))
    tool.apply(window(child(INDEX, CHILD_1, NOON + MINUTE)))
    assert relations(db) == [(INDEX, CHILD_1, 3, text(NOON), text(NOON + MINUTE)),
                             (INDEX, CHILD_2, 1, text(NOON + 1), text(NOON + 1))]
    assert db.value("select distinct evidence from pulltap.manifest_children") == "observed"
    assert db.rows("select tag, pulls, checks from pulltap.tags") == [
        {"tag": "v1", "pulls": 3, "checks": 0}]
    assert sum(r["pulls"] + r["checks"] for r in db.rows("select * from pulltap.manifests")) == 3


def test_relation_that_arrives_late_keeps_its_first_and_last_time(db, tool):
    tool.apply(window(child(INDEX, CHILD_1, NOON + MINUTE)))
    tool.apply(window(child(INDEX, CHILD_1, NOON)))
    assert relations(db) == [(INDEX, CHILD_1, 2, text(NOON), text(NOON + MINUTE))]


def test_window_applied_twice_counts_its_relations_once(db, tool):
    tool.write(window(child(INDEX, CHILD_1)))
    tool.apply(keep=True)
    tool.apply(expect="duplicate")
    assert [r[2] for r in relations(db)] == [1]


def test_index_is_in_use_when_its_child_is_and_the_other_way_round(db, tool):
    tool.apply(window(record(GET, "v1", INDEX, NOON), child(INDEX, CHILD_1, NOON),
                      record(GET, "", CHILD_1, NOON + 9 * MINUTE),
                      record(HEAD, "", OTHER, NOON + 99 * MINUTE)))
    tool.apply(window(child(INDEX, CHILD_2, NOON)))
    used = in_use(db)
    assert used[INDEX]["last_used_itself"] == text(NOON)
    assert used[INDEX]["last_used"] == used[INDEX]["last_used_child"] == text(NOON + 9 * MINUTE)
    assert used[CHILD_1]["last_used_index"] == text(NOON)
    assert used[CHILD_1]["last_used"] == text(NOON + 9 * MINUTE)
    assert used[CHILD_2]["last_used_itself"] is None
    assert used[CHILD_2]["last_used"] == text(NOON)
    assert (used[INDEX]["children"], used[CHILD_1]["indexes"]) == (2, 1)
    assert used[OTHER]["last_used_index"] is used[OTHER]["last_used_child"] is None
    assert used[OTHER]["last_used"] == text(NOON + 99 * MINUTE)


def test_one_digest_in_two_repositories_is_two_children(db, tool):
    tool.apply(window(child(INDEX, CHILD_1), child(INDEX, CHILD_1, repository="other")))
    rows = db.rows("select repository, index_id, child_id from pulltap.manifest_children")
    assert sorted(r["repository"] for r in rows) == ["library/alpine", "other"]
    assert len({r["child_id"] for r in rows}) == 2


def test_manifest_is_no_child_of_itself(db, tool):
    tool.apply(window(child(INDEX, INDEX)))
    assert relations(db) == []


def test_child_without_a_sound_digest_is_rejected(db, tool):
    tool.apply(window(child("v1", CHILD_1), child(INDEX, "sha256:xyz"), child("", CHILD_1)))
    assert [r["reason"] for r in db.rows("select * from pulltap.rejects")] == [
        "index or child is malformed"] * 3
    assert relations(db) == []


def test_many_children_in_one_window(db, tool):
    """Two manifests a record: no table of the batch is too small for them."""
    tool.apply(window(*[child(digest(10_000 + i), digest(20_000 + i)) for i in range(500)]))
    assert db.value("select count(*) from pulltap.manifest_children") == 500
    assert db.value("select count(*) from pulltap.manifests") == 1000


def test_names_removed_behind_the_cache_are_registered_again(db, tool):
    tool.apply(window(child(INDEX, CHILD_1)))
    db.execute("delete from pulltap.manifest")
    tool.apply(window(child(INDEX, CHILD_1, NOON + 1)))
    assert [r[2] for r in relations(db)] == [1]
