# SPDX-License-Identifier: MIT
"""What `pulltap ls` prints."""
import json

from model import GET, HEAD, NOON, PUT, digest, record, window


def listing(tool, **arguments):
    answer = tool.ask("list", **arguments)
    assert answer["err"] == 0, tool.stderr()
    return answer["text"]


def fill(tool):
    tool.apply(window(record(GET, "latest", digest(0xabc << 208), NOON, 12),
                      record(HEAD, "latest", digest(0xabc << 208), NOON + 60 * 10**6),
                      record(PUT, "new", digest(2), NOON),
                      record(GET, "v1", digest(3), NOON, 4, repository="team/app")))


def test_repositories_are_listed_with_totals(tool, db):
    fill(tool)
    lines = [line.split() for line in listing(tool).splitlines()]
    assert lines[0] == ["REGISTRY", "REPOSITORY", "TAGS", "MANIFESTS", "TAG_PULLS",
                        "MANIFEST_PULLS", "TAG_CHECKS", "MANIFEST_CHECKS", "LAST_PULL",
                        "LAST_CHECK"]
    assert lines[1] == ["hub", "library/alpine", "2", "2", "12", "12", "1", "1",
                        "2026-03-04", "12:00:00", "2026-03-04", "12:01:00"]
    assert lines[2][:2] == ["hub", "team/app"] and lines[2][-1] == "never"


def test_columns_line_up(tool, db):
    fill(tool)
    for block in listing(tool, repository="library/alpine").split("\n\n"):
        head, *rows = block.splitlines()
        at = head.index("LAST_PULL")
        assert all(row[at - 2:at] == "  " and row[at] in "2n" for row in rows)


def test_one_repository_shows_tags_and_manifests(tool, db):
    fill(tool)
    tags, manifests = listing(tool, repository="library/alpine").split("\n\n")
    assert tags.splitlines()[1].split() == [
        "hub", "latest", "000000000abc", "12", "1", "2026-03-04", "12:00:00", "2026-03-04",
        "12:01:00", "2026-03-04", "12:01:00"]
    assert tags.splitlines()[2].split()[-3:] == ["never", "never", "never"]
    assert manifests.splitlines()[1].split()[2] == "latest"


def test_json_says_everything(tool, db):
    fill(tool)
    repositories = json.loads(listing(tool, json=True))["repositories"]
    assert [r["repository"] for r in repositories] == ["library/alpine", "team/app"]
    assert repositories[0]["last_used"] == "2026-03-04T12:01:00Z"
    one = json.loads(listing(tool, json=True, repository="library/alpine", registry="hub"))
    assert one["tags"][0]["digest"] == digest(0xabc << 208)
    assert one["tags"][1]["last_pull"] is None
    assert one["manifests"][0]["tags"] == ["latest"]


def test_names_can_not_move_the_cursor(tool, db):
    tool.apply(window(record(GET, "a\x1b[2Jb\r\n\x9bc‮d", digest(1), repository="r\x07")))
    text = listing(tool, repository="r\x07")
    assert not set(text) - {"\n"} & set(map(chr, [*range(32), 127, 0x9b, 0x202e]))
    assert "a\\x1b[2Jb\\x0d\\x0a" in text


def test_unknown_repository_is_an_error(tool, db):
    fill(tool)
    assert tool.ask("list", repository="nothing")["err"] == -2
    assert "repository nothing was never seen" in tool.stderr()


def test_registry_narrows_the_list(tool, db):
    tool.apply(window(record(GET, "a", "", registry="one"), record(GET, "a", "", registry="two")))
    assert "one" not in listing(tool, registry="two")


def test_empty_database_says_so(tool, db):
    assert listing(tool) == "nothing was pulled yet\n"
    assert json.loads(listing(tool, json=True)) == {"repositories": []}


def test_database_without_schema_says_what_to_run(cluster, tools):
    tool = tools(cluster.create().conninfo)
    assert tool.ask("list")["err"] == -5
    assert "run: pulltap migrate" in tool.stderr()
