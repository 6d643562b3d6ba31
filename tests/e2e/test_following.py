# SPDX-License-Identifier: MIT
"""
The agent finds registries by itself: those that run, those that start, restart or are replaced by
another build later; on the host and in a container's own file system. Nothing that a registry
answered after it was found is missed.
"""
import os
import secrets
import shutil
import signal
import time

import pytest

from lib import books
from lib.agent import Agent
from lib.containers import Podman, RegistryContainers
from lib.images import Image
from lib.proc import Process, run, until
from lib.registry import Registry
from lib.truth import Truth

pytestmark = pytest.mark.needs_pulltap


def unique(registry):
    """A name of its own: the registry's name in the database is its executable's."""
    name = "registry-" + secrets.token_hex(4)
    path = os.path.join(os.path.dirname(str(registry.binary)), name)
    os.rename(registry.binary, path)
    registry.binary = path
    return name


def discovering(keep, database):
    return keep(Agent(database.conninfo(), arguments=["--no-discover=no"])).start()


def prepared(keep):
    """A registry with one image, stopped again, and what it holds."""
    registry = keep(Registry())
    name = unique(registry)
    registry.start()
    registry.push(Image("followed"), "team/app", "v1")
    names = registry.names()
    registry.stop()
    return registry, name, names


def pull(registry, times):
    for _ in range(times):
        run(["curl", "-sSf", "-o", "/dev/null", "-H", "Accept: application/vnd.oci.image.manifest."
             "v1+json, application/vnd.docker.distribution.manifest.v2+json",
             f"{registry.url}/v2/team/app/manifests/v1"])


def attached(agent, name):
    return [e for e in agent.events("target attached") if e["registry"] == name]


def pulls(registry, since):
    return [r for r in registry.requests(since) if "/manifests/" in r.uri]


def test_a_registry_that_runs_already_is_found(keep, database):
    registry, name, names = prepared(keep)
    registry.start()
    since = registry.mark()
    agent = discovering(keep, database)
    assert len(attached(agent, name)) == 1
    assert attached(agent, name)[0]["kind"] == "distribution"
    pull(registry, 5)
    registry.settle()
    agent.stop()
    books.check(database, Truth(names).feed(registry.requests(since)), registry=name)


def test_a_registry_that_starts_later_is_found_by_itself(keep, database):
    registry, name, names = prepared(keep)
    agent = discovering(keep, database)
    since = registry.mark()
    registry.start()
    # a binary that nobody ever ran here has no promise for its first milliseconds (README's limits)
    until(lambda: attached(agent, name), 5, what="the registry is found")
    pull(registry, 5)
    registry.settle()
    agent.stop()
    assert len(pulls(registry, since)) == 5
    books.check(database, Truth(names).feed(registry.requests(since)), registry=name)


def test_what_came_before_the_first_probe_lies_in_a_gap(keep, database):
    """The agent does not get to run while a binary that it never saw starts and answers."""
    registry, name, names = prepared(keep)
    agent = discovering(keep, database)
    since = registry.mark()
    os.kill(agent.pid, signal.SIGSTOP)
    registry.start()
    pull(registry, 3)
    last = time.time()
    os.kill(agent.pid, signal.SIGCONT)
    until(lambda: attached(agent, name), 5, what="the registry is found")
    pull(registry, 5)
    registry.settle()
    agent.stop()
    assert len(pulls(registry, since)) == 8
    tag, = database.tags(name)
    assert tag["pulls"] == 5
    gap, = database.rows("select registry, reason, extract(epoch from gap_start)::float8 as start, "
                         "extract(epoch from gap_end)::float8 as stop from pulltap.gaps "
                         f"where registry = '{name}'")
    assert gap["reason"] == "probed after its start"
    assert gap["start"] < last < gap["stop"]


def test_restarts_and_replaced_binaries_lose_nothing(keep, database):
    registry, name, names = prepared(keep)
    agent = discovering(keep, database)
    since = registry.mark()
    for turn in range(6):
        if turn % 2:  # an upgrade: another inode under the same name
            fresh = str(registry.binary) + ".new"
            shutil.copy(registry.binary, fresh)
            os.rename(fresh, registry.binary)
            until(lambda: len(attached(agent, name)) > turn // 2 + 1, 5,
                  what="the new binary is probed before it starts")
        registry.start()
        until(lambda: attached(agent, name), 5, what="the registry is found")
        pull(registry, 3)
        registry.stop()
    agent.stop()
    assert len(pulls(registry, since)) == 18
    books.check(database, Truth(names).feed(registry.requests(since)), registry=name)


def test_a_registry_in_a_file_system_of_its_own_is_found(keep, database, folder):
    """As a container runs it: own root, own mount namespace, a path that the host does not have."""
    registry, name, names = prepared(keep)
    root = folder.make("root")
    libraries = [word for word in run(["ldd", str(registry.binary)]).stdout.split()
                 if word.startswith("/")]
    for path in libraries:
        target = root + path
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy(path, target)
    os.makedirs(root + "/inside")
    shutil.copy(registry.binary, f"{root}/inside/{name}")
    os.makedirs(root + str(registry.folder.path))
    agent = discovering(keep, database)
    since = registry.mark()
    boxed = keep(Process(
        ["unshare", "-m", "sh", "-c",
         f"mount --bind {registry.folder.path} {root}{registry.folder.path} && "
         f"exec chroot {root} /inside/{name} serve {registry._config}"],
        stdout=registry.log_path, stderr=registry.error_path))
    registry.wait_http()
    pull(registry, 4)
    registry.settle()
    agent.stop()
    boxed.stop()
    assert attached(agent, name)[0]["exe"].strip('"').endswith(f"/inside/{name}")
    assert len(pulls(registry, since)) == 4
    books.check(database, Truth(names).feed(registry.requests(since)), registry=name)


@pytest.mark.skipif(not shutil.which("podman") and not os.environ.get("CI"), reason="no podman")
def test_two_containers_of_one_image_count_each_pull_once(keep, database):
    """They share the inode behind two overlay mounts: one probe, not two. Named by id."""
    one, _, names = prepared(keep)
    two, _, _ = prepared(keep)
    containers = RegistryContainers(keep(Podman()), str(one.binary))
    first, identity = containers.start(keep, one)
    since = [one.mark(), two.mark()]
    agent = keep(Agent(database.conninfo(), target=identity[:12])).start()
    second, _ = containers.start(keep, two)
    for registry in (one, two):
        pull(registry, 5)
        registry.settle()
    agent.stop()
    truth = Truth(names)
    for registry, mark in zip((one, two), since):
        truth.feed(registry.requests(mark))
    containers.stop(first)
    containers.stop(second)
    books.check(database, truth, registry="test")
    assert sum(total.pulls for total in truth.tags.values()) == 10


def test_two_executables_under_one_name_count_together(keep, database):
    one, _, names = prepared(keep)
    two, _, _ = prepared(keep)
    agent = keep(Agent(database.conninfo(), arguments=[
        "--target", f"both={one.binary}", "--target", f"both={two.binary}"])).start()
    marks = [(registry, registry.mark()) for registry in (one, two)]
    for number, (registry, _) in enumerate(marks, 1):
        registry.start()
        until(lambda: len(attached(agent, "both")) == number, 5, what="the registry is found")
        pull(registry, 3)
        registry.settle()
    agent.stop()
    truth = Truth(names)
    for registry, since in marks:
        truth.feed(registry.requests(since))
    books.check(database, truth, registry="both")
    # found at their start: what may have come before is milliseconds, and on a busy machine not two seconds
    late = database.rows("select extract(epoch from duration)::float8 as seconds from pulltap.gaps "
                         "where registry = 'both' and reason = 'probed after its start'")
    assert all(gap["seconds"] < 2 for gap in late), late
