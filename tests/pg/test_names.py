# SPDX-License-Identifier: MIT
"""Names from outside: hostile, broken, or more than a text column can hold."""
import pytest
from model import GET, HEAD, NOON, digest, record, window


def raw(op=GET, count=1, **texts):
    """A record whose texts are bytes."""
    item = {"op": op, "count": count, "last_us": NOON,
            "registry": "hub", "repository": "library/alpine"}
    for name, value in texts.items():
        item.pop(name, None)
        item[name + "_hex"] = value.hex()
    return item


@pytest.mark.parametrize("bad, reason", [
    (b"\xff", "tag is not UTF-8 text"),
    (b"a\x00b", "tag is not UTF-8 text"),
    (b"\xed\xa0\x80", "tag is not UTF-8 text"),  # a surrogate
    (b"\xc0\xaf", "tag is not UTF-8 text"),  # overlong
    (b"\xf4\x90\x80\x80", "tag is not UTF-8 text"),  # beyond U+10FFFF
    (b"abc\xe2\x82", "tag is not UTF-8 text"),  # cut off
])
def test_broken_tag_is_rejected_and_the_rest_goes_on(db, tool, bad, reason):
    tool.apply(window(record(GET, "good", digest(1)), raw(tag=bad, count=7)))
    assert db.rows("select tag, pulls from pulltap.tags") == [{"tag": "good", "pulls": 1}]
    assert db.rows("select tag, reason, count, windows, seq from pulltap.rejected") == [
        {"tag": "\\x" + bad.hex(), "reason": reason, "count": 7, "windows": 1, "seq": 1}]
    assert tool.ask("stats")["rejected"] == 1


@pytest.mark.parametrize("field", ["registry", "repository"])
def test_broken_registry_or_repository_is_rejected(db, tool, field):
    tool.apply(window(record(GET, "good", digest(1)), raw(**{field: b"\xfe", "tag": b"x"})))
    assert db.value("select reason from pulltap.rejected") == f"{field} is not UTF-8 text"
    assert db.value("select count(*) from pulltap.tag") == 1


def test_the_same_rejected_row_is_one_row_that_counts(db, tool):
    for _ in range(3):
        tool.apply(window(raw(tag=b"\xff", count=2), raw(op=HEAD, tag=b"\xff", count=3)))
    assert db.rows("select count, windows, seq from pulltap.rejected") == [
        {"count": 15, "windows": 3, "seq": 3}]


NAMES = ["'; drop schema pulltap cascade; --", "a\"b", "a\\b", "{a,b}", "%s%n", "NULL", "\t\n",
         "x" * 128, "ü" * 64, "日本", "\U0001f600", "$1", "a b"]


def test_any_text_is_stored_as_it_is(db, tool):
    tool.apply(window(*[record(GET, name, digest(i), NOON + i) for i, name in enumerate(NAMES)]))
    tool.apply(window(*[record(GET, name, digest(i), NOON + i) for i, name in enumerate(NAMES)]))
    assert {r["tag"]: r["pulls"] for r in db.rows("select * from pulltap.tags")} == \
        {name: 2 for name in NAMES}


def test_longest_names_fit_their_indexes(db, tool):
    """512 bytes that compression can't shorten much, as a repository and rejected as a row."""
    long = "".join(chr(0x4E00 + (i * 7919) % 20000) for i in range(170))
    assert len(long.encode()) == 510
    tool.apply(window(record(GET, "t" * 128, "sha512:" + "0123456789abcdef" * 8, repository=long),
                      raw(repository=long.encode(), tag=bytes(range(128, 256)),
                          digest=bytes(range(100, 235)))))
    assert db.value("select repository from pulltap.tags") == long
    assert db.value("select digest from pulltap.manifests") == "sha512:" + "0123456789abcdef" * 8
    assert db.value("select length(repository) from pulltap.rejected") == 510


@pytest.mark.parametrize("bad", [
    "sha256:", "sha256:xyz", "nonsense", ":", "sha256:" + "a" * 63, "sha256:" + "a" * 66,
    "sha512:" + "a" * 64, "sha256:" + "g" * 64, "-x:" + "a" * 64, "sha256+:" + "a" * 64])
def test_malformed_digest_is_unknown_and_the_tag_counts(db, tool, bad):
    tool.apply(window(record(GET, "v1", bad, count=4)))
    assert db.rows("select tag, digest, pulls from pulltap.tags") == [
        {"tag": "v1", "digest": None, "pulls": 4}]
    assert db.value("select count(*) from pulltap.manifest") == 0
    assert db.rows("select count, reason from pulltap.rejected") == [
        {"count": 4, "reason": "digest is malformed"}]


def test_digest_of_either_case_is_one_manifest(db, tool):
    tool.apply(window(record(GET, "", "sha256:" + "AB" * 32), record(GET, "", "sha256:" + "ab" * 32)))
    tool.apply(window(record(GET, "", "SHA256:" + "aB" * 32)))
    assert db.rows("select digest, pulls from pulltap.manifests") == [
        {"digest": "sha256:" + "ab" * 32, "pulls": 3}]


def test_same_digest_in_two_repositories_is_two_manifests(db, tool):
    tool.apply(window(*[record(GET, "", digest(1), repository=r) for r in ("a", "b")]))
    assert db.value("select count(*) from pulltap.manifests") == 2


def test_a_clock_that_was_never_set_does_not_stop_a_window(db, tool):
    tool.apply(window(record(GET, "old", digest(1), -5), record(GET, "far", digest(1), 2**62),
                      start=-2**62, end=2**62))
    assert db.value("select sum(pulls) from pulltap.tags") == 2


def test_impossible_counts_are_rejected(db, tool):
    tool.apply(window(record(GET, "v1", digest(1), count=2**62), record(GET, "v2", digest(1))))
    assert db.value("select pulls from pulltap.tags") == 1
    assert db.value("select reason from pulltap.rejected") == "count out of range"


def test_rows_that_the_database_refuses_are_narrowed_down(cluster, tools):
    """A database of another encoding can't hold every name: only those are lost, and noted."""
    db = cluster.create("encoding 'LATIN1' locale 'C' template template0")
    tool = tools(db.conninfo)
    assert tool.ask("migrate")["err"] == 0
    records = [record(GET, f"v{i}", digest(i), repository="ok") for i in range(40)]
    records[7]["repository"] = records[31]["repository"] = "日本"
    tool.apply(window(*records))
    assert db.value("select sum(pulls) from pulltap.tags") == 38
    assert db.value("select sum(pulls) from pulltap.manifests") == 38
    assert db.rows("select reason, sum(count) as count, count(*) as rows from pulltap.rejected "
                   "group by 1") == [
        {"reason": "refused by the database: SQLSTATE 22P05", "count": 4, "rows": 4}]
