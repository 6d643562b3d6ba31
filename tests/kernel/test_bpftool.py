# SPDX-License-Identifier: MIT
"""What an operator can do without pulltap: read the counts and stop the counting with bpftool."""

import pytest

import watching
from watching import Watch, active_window, bpftool, dump_map

from lib.agent import pulltap
from lib.hits import Load


@pytest.fixture
def folder():
    with watching.Folder("pulltap-bpftool-") as folder:
        yield folder


@pytest.fixture
def watch():
    watch = Watch(window=3600)  # nothing is drained while the test looks
    yield watch
    watch.close()


def counts(watch):
    """{(repository, tag, digest): count} as the dump shows it."""
    found = {}
    for entry in dump_map(active_window(watch) + "/counts"):
        key = entry["key"]
        assert key["op"] == "PT_OP_GET"
        found[key["repository"], key["tag"], key["digest"]] = sum(
            cpu["value"]["count"] for cpu in entry["values"])
    return found


def seen(watch):
    ledger, = dump_map(active_window(watch) + "/ledger")
    return sum(cpu["value"]["seen"] for cpu in ledger["values"])


def test_dump_shows_names_and_counts_as_text(watch, folder):
    truth = Load(folder, watch).start(2, 10_000, 300).wait()
    assert counts(watch) == truth
    text = bpftool("map", "dump", "pinned", active_window(watch) + "/counts").stdout
    repository, tag, digest = next(iter(truth))
    for line in (f'"repository": "{repository}"', f'"tag": "{tag}"', f'"digest": "{digest}"',
                 '"count": '):
        assert line in text
    assert seen(watch) == 10_000
    assert [entry["value"] for entry in dump_map(watch.agent.bpffs + "/registries")
            if entry["value"]["name"]] == [{"name": "load", "replies": 10_000, "counted": 10_000}]
    site, = watch.sites()
    assert (site["symbol"], site["hits"]) == ("probed_reply", 10_000)
    assert (site["hook"], site["go_abi"], site["go_map"]) == (
        "PT_GO_HOOK_HTTP1", "PT_GO_ABI_REGISTER", "PT_GO_MAP_BUCKETS")


def switch(watch, value):
    bpftool("map", "update", "pinned", watch.agent.bpffs + "/off", "key", "0", "0", "0", "0",
            "value", str(value), "0", "0", "0")


# every bit is somebody's: operator, file, database, redis, signal, guard, and one that is nobody's
@pytest.mark.parametrize("bit", [1, 2, 4, 8, 16, 32, 128])
def test_any_bit_of_the_switch_stops_counting_at_once(watch, folder, bit):
    load = Load(folder, watch)
    load.start(1, 1_000, 50).wait()
    assert sum(counts(watch).values()) == 1_000
    switch(watch, bit)
    load.start(1, 5_000, 50).wait()
    assert watch.hits() == 1_000
    watch.agent.wait_log("probes are removed, nothing is counted")
    switch(watch, 0)
    watch.agent.wait_log("counting again")  # and a window of its own
    load.start(1, 1_000, 50).wait()
    assert watch.hits() == 2_000
    assert seen(watch) == sum(counts(watch).values()) == 1_000


def mask(watch):
    entry, = dump_map(watch.agent.bpffs + "/off")
    return entry["value"]


def test_switch_by_hand_and_by_command_are_the_same(watch):
    switch(watch, 2)
    assert watch.agent.status()["counting"] is False
    pulltap("off", "--bpffs", watch.agent.bpffs)
    assert mask(watch) == 3
    # what was written by hand is taken back by hand
    assert pulltap("on", "--bpffs", watch.agent.bpffs).stdout.strip() == "on"
    assert mask(watch) == 0
    pulltap("off", "--bpffs", watch.agent.bpffs)
    switch(watch, 0)
    assert watch.agent.status()["counting"] is True


def test_switch_by_hand_is_named_by_status(watch):
    switch(watch, 64)
    watch.agent.wait_log("switched off")
    told, = [source for source in watch.agent.status()["switch"] if source["off"]]
    assert (told["source"], told["who"]) == ("hand", "mask 64")
