# SPDX-License-Identifier: MIT
"""Every layout of Go's structs and maps that the programs know, and every way in which memory can
be something else, one by one: each ends in the counter that says so, and no wrong name or digest
is ever counted. build/tools/go_memory lays the memory out."""

import itertools

import pytest

import watching
from watching import MemoryTool, TOOLS, Watch, active_window, dump_map, until

DIGEST = "sha256:" + "00112233445566778899aabbccddeeff" * 2
LAYOUTS = ["http1", "http1-stack", "http1-127", "http2-119", "http2-120", "http2-127"]
MAPS = ["buckets", "overflow", "growing", "small", "swiss", "split"]
GROUPS_READ = 33  # GO_GROUPS_MAX of bpf/go_header.h, and the one before them


@pytest.fixture(scope="module")
def watch():
    if not (TOOLS / "go_memory").exists():
        watching.missing(f"{TOOLS}/go_memory is not built")
    watch = Watch(window=3600, hint=60)  # nothing is drained while the test looks
    yield watch
    watch.close()


@pytest.fixture
def act(watch):
    """act(...) -> the counters that rose; a fresh site, so that no earlier failure counts."""
    with MemoryTool(watch, "go_memory") as tool:
        def do(layout="http1", kind="buckets", groups=1, at=0, fault="none", count=1):
            rose = tool.run(layout, kind, groups, at, fault, count)
            do.keys = tool.keys
            return rose

        yield do


KNOWN, UNKNOWN = ("memory", "v1", DIGEST), ("memory", "v1", "")


@pytest.mark.parametrize("layout, kind", itertools.product(LAYOUTS, MAPS))
def test_every_layout_with_every_map_gives_name_and_digest(act, layout, kind):
    groups = {"small": 1, "growing": 2}.get(kind, 8)
    assert act(layout, kind, groups, at=groups // 2 if kind != "growing" else 0) == {"counted": 1}
    assert act.keys == {KNOWN: 1}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_function_that_starts_over_counts_nothing(act, layout):
    assert act(layout, fault="starts-over", count=3) == {"filtered_stack_growth": 3}
    assert act.keys == {}


@pytest.mark.parametrize("layout, fault", [
    (layout, fault) for layout in LAYOUTS for fault in ("object", "request", "method", "uri")
    if (layout, fault) != ("http2-127", "request")])  # there the request is inside the state
def test_memory_that_is_not_there_is_a_counted_loss(act, layout, fault):
    assert act(layout, fault=fault) == {"lost_fault": 1}
    assert act.keys == {}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("fault", ["layout", "method-empty", "method-endless", "status-99",
                                   "status-1000"])
def test_failed_canary_is_a_counted_loss(act, layout, fault):
    assert act(layout, fault=fault) == {"lost_layout": 1}
    assert act.keys == {}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_status_that_was_never_written_is_200(act, layout):
    assert act(layout, fault="status-0") == {"counted": 1}
    assert act.keys == {KNOWN: 1}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("fault", ["method-7", "method-33"])
def test_other_method_is_filtered(act, layout, fault):
    """However long: it is the client's choice, and must not look like a wrong layout."""
    assert act(layout, fault=fault) == {"filtered_method": 1}


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout != "http2-127"])
def test_target_that_was_cleared_is_read_from_the_url(act, layout):
    assert act(layout, fault="cleared") == {"counted": 1}
    assert act.keys == {KNOWN: 1}


@pytest.mark.parametrize("kind", MAPS)
@pytest.mark.parametrize("fault, note", [
    ("map", "note_digest_unread"), ("group", "note_digest_unread"),
    ("slice", "note_digest_unread"), ("text", "note_digest_unread"), ("no-header", None),
    ("no-values", None)])
def test_unread_digest_leaves_the_pull_of_the_tag(act, kind, fault, note):
    groups = 2 if kind == "growing" else 1
    rose = act("http1", kind, groups, fault=fault)
    assert rose.pop("counted") == 1
    assert act.keys == {UNKNOWN: 1}
    assert rose.pop("note_digest_unread", 0) == (note is not None)
    assert rose.pop("note_digest_missing", 0) == (note is None)
    assert rose == {}


@pytest.mark.parametrize("kind", [kind for kind in MAPS if kind not in ("small", "growing")])
@pytest.mark.parametrize("at", [0, 1, 7, 8, GROUPS_READ - 1, GROUPS_READ, GROUPS_READ + 1, 255])
def test_as_many_groups_are_read_as_promised(act, kind, at):
    rose = act("http2-120", kind, 256, at)
    assert rose["counted"] == 1
    assert ("note_digest_unread" in rose) == (at >= GROUPS_READ)
    assert act.keys == {UNKNOWN if at >= GROUPS_READ else KNOWN: 1}


def test_old_half_of_a_growing_map_is_read_after_the_new_one(act):
    assert act("http1", "growing", 16, at=7) == {"counted": 1}
    assert act.keys == {KNOWN: 1}
    # 32 new ones leave room for the first of the 16 old ones
    assert act("http1", "growing", 32, at=0) == {"counted": 1}
    assert "note_digest_unread" in act("http1", "growing", 32, at=1)


@pytest.mark.parametrize("kind", MAPS)
def test_header_without_a_digest_is_read_to_its_end(act, kind):
    groups = {"small": 1, "growing": 4}.get(kind, 16)
    assert act("http1", kind, groups, at=-1) == {"counted": 1, "note_digest_missing": 1}
    assert act.keys == {UNKNOWN: 1}


def learned(watch):
    """{(index, child): count}"""
    return {(e["key"]["tag"], e["key"]["digest"]):
            sum(cpu["value"]["count"] for cpu in e["values"])
            for e in dump_map(active_window(watch) + "/long_counts")
            if e["key"]["op"] == "PT_OP_CHILD"}


@pytest.mark.parametrize("layout, kind", [
    *((layout, "buckets") for layout in LAYOUTS),
    *(("http2-120", kind) for kind in MAPS if kind not in ("buckets", "growing"))])
def test_index_then_a_digest_is_its_child(watch, act, layout, kind):
    child = "sha256:" + "f" * 64
    before = learned(watch).get((DIGEST, child), 0)
    assert act(layout, kind, fault="index", count=2) == {"counted": 2}
    assert act.keys == {KNOWN: 2}
    assert act(layout, kind, fault="child", count=3) == {"counted": 3}
    assert act.keys == {("memory", "", child): 3}
    assert learned(watch) == {(DIGEST, child): before + 3}


def test_wrong_layout_switches_its_site_off_and_is_reported(watch, act):
    rose = act("http1", fault="layout", count=40)
    assert rose == {"lost_layout": 16, "filtered_target_off": 24}
    site, = [site for site in watch.sites("memory") if site["off"]]
    assert (site["layout_failures"], site["hits"]) == (16, 40)
    until(lambda: watch.agent.events("target switched off: its layout is not the expected one"),
          10, what="the agent says so")
    # what was right before stays off, too: nothing more is believed
    assert act("http1", count=5) == {"filtered_target_off": 5}


def test_stray_failures_among_many_replies_leave_the_site_on(watch, act):
    assert act("http2-120", count=2000) == {"counted": 2000}
    assert act("http2-120", fault="layout", count=100) == {"lost_layout": 100}
    assert act("http2-120", count=10) == {"counted": 10}
