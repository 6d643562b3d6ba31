# SPDX-License-Identifier: MIT
"""
A tag's life by real clients: pushed, pulled, moved, moved behind the agent's back, deleted, pushed
again. Its versions follow with their evidence; its counts, and each manifest's, stay their own.
"""
import time

import pytest

from lib import books
from lib.agent import Agent
from lib.clients import client, reference
from lib.images import Image
from lib.registry import Registry
from lib.truth import Truth

pytestmark = pytest.mark.needs_pulltap
REPOSITORY = "team/app"


class Life:
    def __init__(self, keep, database):
        self.database = database
        self.registry = keep(Registry()).start()
        # the same storage, and nobody watches: how a push through another node looks
        self.unwatched = keep(Registry(storage=self.registry.storage)).start()
        self.skopeo = keep(client("skopeo", self.registry))
        self.docker = keep(client("docker", self.registry))
        self.podman = keep(client("podman", self.registry))
        self.truth = Truth({}, hints=True)
        self.agent = keep(Agent(database.conninfo(), self.registry.pid, hint=60)).start()
        self.mark = self.registry.mark()

    def step(self):
        """The log so far, read with the names of this moment; the next step is another second."""
        at = self.registry.settle()
        self.truth.names.update(self.registry.names())
        self.truth.feed(self.registry.requests(self.mark))
        self.mark = at
        time.sleep(1.1)

    def push(self, image):
        self.skopeo.push(self.registry, image, REPOSITORY, "v1")
        self.step()

    def push_unwatched(self, image):
        self.unwatched.push(image, REPOSITORY, "v1")
        self.step()

    def pull(self, by, name="v1"):
        by.pull(self.registry, REPOSITORY, name)
        self.step()


def test_versions_follow_a_tag_and_counts_stay_where_they_were(keep, database):
    life = Life(keep, database)
    one, two, three, four = (Image(f"version {i}") for i in range(4))
    life.push(one)
    life.pull(life.docker)
    life.pull(life.podman)
    life.push(two)
    life.pull(life.docker)
    life.push_unwatched(three)
    life.pull(life.podman)
    life.push_unwatched(four)
    assert life.registry.resolve(REPOSITORY, "v1") == four.digest  # HEAD
    life.step()
    life.skopeo._run("delete", "--tls-verify=false",
                     "docker://" + reference(life.registry, REPOSITORY, "v1"))
    life.step()
    life.push(one)
    life.pull(life.podman)
    life.agent.stop()

    assert [(row["digest"], row["started_by"], row["ended_by"]) for row in database.rows(
            "select * from pulltap.tag_history order by valid_from")] == [
        (one.digest, "put", "put"), (two.digest, "put", "pull"), (three.digest, "pull", "check"),
        (four.digest, "check", "delete"), (one.digest, "put", None)]
    times = database.rows("select valid_from, valid_to from pulltap.tag_history order by 1")
    assert all(a["valid_to"] <= b["valid_from"] for a, b in zip(times, times[1:]))

    books.check(database, life.truth)
    pulls = {row["digest"]: row["pulls"] for row in database.manifests("test")}
    # the tag: docker twice, podman three times; skopeo may read before it deletes
    by_hand = {one.digest: 3, two.digest: 1, three.digest: 1}
    assert {digest: count for digest, count in pulls.items()
            if digest != four.digest and count} == by_hand
    row, = database.rows("select pulls, pushes, digest from pulltap.tags")
    assert (row["pulls"] - pulls.get(four.digest, 0), row["pushes"], row["digest"]) == (
        5, 3, one.digest)
