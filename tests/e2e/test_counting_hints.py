# SPDX-License-Identifier: MIT
"""A HEAD and its GET with something in between: the end of a window, a restart, a full map."""
import struct
import time

import pytest

from lib import books
from lib.agent import Agent
from lib.images import DOCKER, Image
from lib.proc import until
from lib.registry import Registry
from lib.watch import bpftool, dump_map

pytestmark = pytest.mark.needs_pulltap
HINTS = 65536  # max_entries of the map


@pytest.fixture
def registry(keep):
    return keep(Registry()).start()


def push(registry, *tags):
    images = {tag: Image(tag, types=DOCKER) for tag in tags}
    for tag, image in images.items():
        registry.push(image, "team/app", tag)
    return {tag: image.digest for tag, image in images.items()}


def tags(database):
    return {row["tag"]: (row["pulls"], row["checks"])
            for row in database.rows("select * from pulltap.tags")}


def in_database(database, tag):
    until(lambda: tag in tags(database), 30, what=f"the window of {tag}'s HEAD is stored")


def test_head_of_a_window_before_makes_the_get_a_pull_of_the_tag(keep, registry, database):
    digests = push(registry, "v1")
    agent = keep(Agent(database.conninfo(), registry.pid, hint=300)).start()
    registry.send("HEAD", "team/app", "v1")
    in_database(database, "v1")
    assert tags(database) == {"v1": (0, 1)}
    registry.send("GET", "team/app", digests["v1"])
    registry.settle()
    agent.stop()
    assert tags(database) == {"v1": (1, 0)}
    row, = database.rows("select * from pulltap.manifests")
    assert (row["pulls"], row["checks"]) == (1, 0)
    books.check_windows(database)


@pytest.mark.parametrize("end", ["pause", "kill"])
def test_head_before_a_restart_makes_the_get_after_it_a_pull_of_the_tag(keep, registry, database,
                                                                        end):
    digests = push(registry, "during", "after")
    agent = keep(Agent(database.conninfo(), registry.pid, hint=300)).start()
    for tag in digests:
        registry.send("HEAD", "team/app", tag)
    registry.settle()
    getattr(agent, end)()
    registry.send("GET", "team/app", digests["during"])
    registry.settle()
    agent.start()
    assert agent.events("adopted what counts already")
    registry.send("GET", "team/app", digests["after"])
    registry.settle()
    agent.stop()
    assert tags(database) == {"during": (1, 0), "after": (1, 0)}
    books.check_windows(database)


def test_head_that_finds_no_room_for_its_hint_is_counted_and_noted(keep, registry, database,
                                                                   folder):
    digests = push(registry, "v1", "v2")
    agent = keep(Agent(database.conninfo(), registry.pid, hint=3600)).start()
    registry.send("HEAD", "team/app", "v1")
    registry.settle()
    value = struct.pack("<Q", time.clock_gettime_ns(time.CLOCK_BOOTTIME)) + bytes(136)
    with open(folder / "fill", "w") as file:  # all but the one that is there
        pin = f"{agent.bpffs}/live/hints"
        for number in range(HINTS - 1):
            key = struct.pack("<II", 1 << 20, number) + bytes(128)
            file.write(f"map update pinned {pin} key hex {key.hex(' ')} "
                       f"value hex {value.hex(' ')}\n")
    bpftool("batch", "file", folder / "fill")
    registry.send("HEAD", "team/app", "v2")
    registry.send("GET", "team/app", digests["v2"])  # its HEAD stays a check
    registry.send("GET", "team/app", digests["v1"])  # takes its hint, and so makes room
    registry.send("HEAD", "team/app", "v2")
    registry.send("GET", "team/app", digests["v2"])
    registry.settle()
    agent.stop()
    assert tags(database) == {"v1": (1, 0), "v2": (1, 1)}
    assert books.counter(database, "note_hint_full") == 1
    books.check_windows(database)


def test_hint_that_is_younger_than_the_sweep_stays(keep, registry, database):
    """The sweep reads the clock once: what is left while it runs is later than that."""
    agent = keep(Agent(database.conninfo(), registry.pid, hint=1)).start()
    pin = f"{agent.bpffs}/live/hints"

    def key(number):
        return (struct.pack("<II", 1 << 20, number) + bytes(128)).hex(" ").split()

    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    for number, boot_ns in enumerate((now + 3600 * 10**9, now - 3600 * 10**9)):
        bpftool("map", "update", "pinned", pin, "key", "hex", *key(number), "value", "hex",
                *(struct.pack("<Q", boot_ns) + bytes(136)).hex(" ").split())
    until(lambda: len(dump_map(pin)) < 2, 60, what="the old one is swept")
    assert [entry["key"]["zero"] for entry in dump_map(pin)] == [0]
    agent.stop()
