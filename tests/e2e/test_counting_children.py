# SPDX-License-Identifier: MIT
"""Which manifests belong to an index, learned from the order in which a client asks for them."""
import pytest

from lib import books
from lib.agent import Agent
from lib.clients import client
from lib.images import DOCKER, OCI, Image
from lib.registry import Registry
from lib.truth import Truth
from test_counting import relations

pytestmark = pytest.mark.needs_pulltap
PLATFORMS = ("linux/amd64", "linux/arm64", "linux/s390x")
LONG = "/".join(["a" * 60] * 4)


class Stage:
    """An index, and two manifests that belong to none, in a repository of a short and a long name."""

    def __init__(self, keep, database, hint=60, types=OCI, repository="team/app"):
        self.database, self.repository, self.hint = database, repository, hint
        self.registry = keep(Registry()).start()
        self.index = Image("index", PLATFORMS, types=types)
        self.children = [digest for digest, _ in self.index.children.values()]
        self.alone = [Image(f"alone {i}", types=types) for i in range(2)]
        for place in (repository, "other"):
            self.registry.push(self.index, place, "v1", "v" * 100)
            for number, image in enumerate(self.alone):
                self.registry.push(image, place, f"alone{number}")
        self.since = self.registry.mark()
        self.agent = keep(Agent(database.conninfo(), self.registry.pid, hint=hint)).start()

    def get(self, name, peer="127.0.0.1", repository=None):
        self.registry.send("GET", repository or self.repository, name, peer)

    def finish(self):
        """What was learned, when the counts are found to be right."""
        self.registry.settle()
        self.agent.stop()
        truth = Truth(self.registry.names(), hints=self.hint > 0)
        books.check(self.database, truth.feed(self.registry.requests(self.since)))
        return relations(self.database)

    def of(self, children, seen=1):
        return {(self.repository, self.index.digest, child): seen for child in children}


@pytest.mark.parametrize("types, repository, tag", [
    (OCI, "team/app", "v1"), (DOCKER, LONG, "v1"), (OCI, "team/app", "v" * 100)],
    ids=["oci", "docker-long-repository", "oci-long-tag"])
def test_index_by_tag_then_a_child(keep, database, types, repository, tag):
    stage = Stage(keep, database, types=types, repository=repository)
    for _ in range(3):
        stage.get(tag)
        stage.get(stage.children[1])
    assert stage.finish() == stage.of([stage.children[1]], 3)


def test_index_by_head_and_get_then_a_child(keep, database):
    stage = Stage(keep, database)
    stage.registry.send("HEAD", "team/app", "v1")
    stage.get(stage.index.digest)
    stage.get(stage.children[0])
    assert stage.finish() == stage.of([stage.children[0]])


def test_every_platform_is_a_child(keep, database):
    stage = Stage(keep, database)
    skopeo = keep(client("skopeo", stage.registry))
    skopeo.pull(stage.registry, "team/app", "v1", every_platform=True)
    assert stage.finish() == stage.of(stage.children)


def test_manifest_after_one_that_is_no_index_is_no_child(keep, database):
    stage = Stage(keep, database)
    stage.get("alone0")
    stage.get(stage.alone[1].digest)
    stage.get(stage.children[0])
    assert stage.finish() == {}


def test_other_peer_or_repository_learns_nothing(keep, database):
    stage = Stage(keep, database)
    stage.get("v1", "127.0.0.10")
    stage.get(stage.children[0], "127.0.0.11")
    stage.get(stage.children[0], "127.0.0.10", "other")
    assert stage.finish() == {}


def test_manifest_of_a_tag_is_no_child(keep, database):
    """By name, or by digest after a HEAD of the name: that digest was not read in the index."""
    stage = Stage(keep, database)
    stage.get("v1")
    stage.get("alone0")
    stage.registry.send("HEAD", "team/app", "alone1")
    stage.get(stage.alone[1].digest)
    assert stage.finish() == {}


def test_digest_asked_for_right_behind_an_index_is_taken_for_its_child(keep, database):
    """The limit of what an order of requests can tell; it changes no count."""
    stage = Stage(keep, database)
    stage.get("v1")
    stage.get(stage.alone[0].digest)
    assert stage.finish() == stage.of([stage.alone[0].digest])


def test_nothing_is_learned_where_peers_are_not_followed(keep, database):
    stage = Stage(keep, database, hint=0)
    stage.get("v1")
    stage.get(stage.children[0])
    assert stage.finish() == {}


def test_index_is_in_use_while_only_its_child_is_pulled(keep, database):
    stage = Stage(keep, database)
    stage.get("v1")
    stage.get(stage.children[0])
    stage.registry.settle()
    stage.get(stage.children[0], "127.0.0.10")
    assert stage.finish() == stage.of([stage.children[0]])
    rows = {row["digest"]: row for row in database.rows("select * from pulltap.manifests_in_use")}
    index, child = rows[stage.index.digest], rows[stage.children[0]]
    assert index["last_used"] == child["last_used_itself"] >= index["last_used_itself"]
    assert child["last_used_index"] == index["last_used_itself"]
