# SPDX-License-Identifier: MIT
"""
Real clients pull tags and digests, images of one platform and of several; the totals equal what
the access log says, with HEADs and the GETs that follow told apart from mere checks.
"""
import pytest

from lib import books
from lib.agent import Agent
from lib.clients import CLIENTS, client
from lib.images import DOCKER, Image
from lib.registry import Registry
from lib.truth import Total, Truth

pytestmark = pytest.mark.needs_pulltap
HINT_SECONDS = 30
PLATFORMS = ("linux/amd64", "linux/arm64", "linux/s390x")


class Stage:
    """A registry with three images, an agent that watches it."""

    def __init__(self, keep, database, hint, **options):
        self.database, self.hint = database, hint
        self.registry = keep(Registry(**options)).start()
        self.single = Image("single", types=DOCKER)
        self.many = Image("many", PLATFORMS)
        self.registry.push(self.single, "plain/single", "v1", "v2")
        self.registry.push(self.many, "deep/er/many", "v1", "latest")
        self.child = self.many.children["linux/amd64"][0]
        self.since = self.registry.mark()
        self.agent = keep(Agent(database.conninfo(), self.registry.pid, hint=hint)).start()

    def finish(self):
        self.registry.settle()
        self.agent.stop()
        truth = Truth(self.registry.names(), hints=self.hint > 0)
        truth.feed(self.registry.requests(self.since))
        books.check(self.database, truth)
        return truth


def pull_everything(one, stage):
    for repository, names in (
            ("plain/single", ("v1", "v2", stage.single.digest)),
            ("deep/er/many", ("v1", "latest", stage.many.digest, stage.child))):
        for name in names:
            one.pull(stage.registry, repository, name)
            one.forget()


@pytest.mark.parametrize("name", sorted(CLIENTS))
@pytest.mark.parametrize("hint", [HINT_SECONDS, 0])
def test_fresh_pulls_equal_the_access_log(keep, database, name, hint):
    stage = Stage(keep, database, hint)
    one = keep(client(name, stage.registry))
    pull_everything(one, stage)
    truth = stage.finish()
    if hint:
        # however a client does it, one pull of a tag is one pull of the tag and of its manifest
        assert dict(truth.tags) == {
            ("plain/single", "v1"): Total(1, 0), ("plain/single", "v2"): Total(1, 0),
            ("deep/er/many", "v1"): Total(1, 0), ("deep/er/many", "latest"): Total(1, 0)}
        # ctr asks for the HEAD of a digest too before it GETs it: a check and a pull
        assert truth.manifests["plain/single", stage.single.digest] == \
            Total(3, 1 if name == "containerd" else 0)
        assert truth.manifests["deep/er/many", stage.many.digest].pulls == 3
    elif name in ("docker", "containerd"):
        assert truth.tags["plain/single", "v1"] == Total(0, 1)


@pytest.mark.parametrize("name", sorted(CLIENTS))
def test_pulls_over_tls_with_a_password_equal_the_access_log(keep, database, name):
    stage = Stage(keep, database, HINT_SECONDS, tls=True, user=("me", "secret"))
    one = keep(client(name, stage.registry))
    pull_everything(one, stage)
    truth = stage.finish()
    assert truth.tags["deep/er/many", "latest"] == Total(1, 0)


@pytest.mark.parametrize("name", ["docker", "containerd"])
def test_an_image_that_is_there_already_is_a_check(keep, database, name):
    """imagePullPolicy: Always on a node that holds the image: HEAD and nothing else."""
    stage = Stage(keep, database, HINT_SECONDS)
    one = keep(client(name, stage.registry))
    for _ in range(4):
        one.pull(stage.registry, "deep/er/many", "v1")
    truth = stage.finish()
    assert truth.tags["deep/er/many", "v1"] == Total(1, 3)


@pytest.mark.parametrize("name", sorted(CLIENTS))
def test_pushes_by_clients_are_no_pulls(keep, database, name):
    stage = Stage(keep, database, HINT_SECONDS)
    one = keep(client(name, stage.registry))
    one.push(stage.registry, Image("pushed by " + name), "pushed/image", "v1")
    truth = stage.finish()
    assert truth.pulls == 0
    rows = database.rows("select tag, pushes from pulltap.tags where repository = 'pushed/image'")
    assert rows == [{"tag": "v1", "pushes": 1}]


def test_skopeo_copies_every_platform(keep, database):
    stage = Stage(keep, database, HINT_SECONDS)
    one = keep(client("skopeo", stage.registry))
    one.pull(stage.registry, "deep/er/many", "v1", every_platform=True)
    truth = stage.finish()
    assert truth.pulls == 1 + len(PLATFORMS)


def test_clients_beside_each_other_equal_the_access_log(keep, database):
    """All from one address, one after the other, over one registry: nothing is mixed up."""
    stage = Stage(keep, database, HINT_SECONDS)
    many = [keep(client(name, stage.registry)) for name in sorted(CLIENTS)]
    for _ in range(2):
        for one in many:
            pull_everything(one, stage)
    truth = stage.finish()
    assert truth.tags["deep/er/many", "v1"] == Total(2 * len(CLIENTS), 0)
