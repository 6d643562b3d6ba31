# SPDX-License-Identifier: MIT
"""nginx's request in memory, in each shape, and every way in which memory can be something else:
each ends in the counter that says so, and no wrong name or digest is ever counted.
build/tools/nginx_memory lays the memory out."""

import collections

import pytest

import watching
from watching import MemoryTool, TOOLS, Watch

DIGEST = "sha256:" + "00112233445566778899aabbccddeeff" * 2
SHAPES = ["http1", "http2", "absolute", "old"]
KNOWN, UNKNOWN = ("memory", "v1", DIGEST), ("memory", "v1", "")


@pytest.fixture(scope="module")
def watch():
    if not (TOOLS / "nginx_memory").exists():
        watching.missing(f"{TOOLS}/nginx_memory is not built")
    watch = Watch(window=3600)  # nothing is drained while the test looks
    yield watch
    watch.close()


@pytest.fixture
def act(watch):
    """act(...) -> the counters that rose; a fresh site, so that no earlier failure counts."""
    with MemoryTool(watch, "nginx_memory") as tool:
        def do(shape="http1", fault="none", rc=0, count=1):
            rose = tool.run(shape, fault, rc, count)
            do.keys = tool.keys
            return rose

        yield do


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fault", ["none", "case", "second-part", "third-part", "unsent",
                                   "connection", "address", "apart", "beside-other"])
def test_every_shape_gives_name_and_digest(act, shape, fault):
    """With rc 0 the connection is not asked; a client's address is needed for hints alone."""
    assert act(shape, fault) == {"counted": 1}
    assert act.keys == {KNOWN: 1}


@pytest.mark.parametrize("fault, note", [
    ("headless", "note_digest_missing"), ("deleted", "note_digest_missing"),
    ("empty-value", "note_digest_missing"), ("malformed", "note_digest_malformed"),
    ("long-value", "note_digest_malformed"), ("value", "note_digest_unread"),
    ("elements", "note_digest_unread"), ("next-part", "note_digest_unread"),
    ("fourth-part", "note_digest_unread"), ("beside-gone", "note_digest_unread"),
    ("beside-malformed", "note_digest_malformed")])
@pytest.mark.parametrize("shape", ["http1", "old"])
def test_reply_without_a_digest_that_can_be_read_counts_for_its_tag(act, shape, fault, note):
    assert act(shape, fault) == {"counted": 1, note: 1}
    assert act.keys == {UNKNOWN: 1}


@pytest.mark.parametrize("fault", ["signature", "size", "room-zero", "room-large", "count-large",
                                   "pool", "pool-odd", "method-zero", "method-bits",
                                   "method-high", "method-other", "status-large"])
@pytest.mark.parametrize("shape", ["http1", "http2"])
def test_every_canary_that_fails_is_a_lost_layout(act, shape, fault):
    assert act(shape, fault) == {"lost_layout": 1}
    assert act.keys == {}


@pytest.mark.parametrize("shape, fault, rc", [
    ("http1", "object", 0), ("http1", "line", 0), ("absolute", "uri", 0),
    ("http1", "connection", 499)])
def test_memory_that_is_not_there_is_a_fault(act, shape, fault, rc):
    assert act(shape, fault, rc) == {"lost_fault": 1}
    assert act.keys == {}


@pytest.mark.parametrize("fault, rc, counter", [
    ("none", 499, "counted"),  # was sent, then the client went
    ("none", -1, "counted"),
    ("unsent", 499, "filtered_status_4xx"),
    ("unsent", 504, "filtered_status_5xx"),
    ("status-none", 404, "filtered_status_404"),
    ("status-none", 200, "counted"),
    ("status-none", 0, "filtered_unanswered"),
    ("status-none", -1, "filtered_unanswered"),
    ("unknown", 0, "filtered_method"),
    ("no-line", 400, "filtered_method")])
def test_the_status_is_what_nginx_logs(act, fault, rc, counter):
    assert act("http1", fault, rc) == {counter: 1}


def test_a_put_that_a_redirect_made_a_get_is_a_put(act):
    assert act("http1", "redirected") == {"filtered_status_2xx": 1}
    assert act("absolute", "redirected") == {"filtered_status_2xx": 1}


def test_layout_that_no_request_tells_counts_nothing_and_is_switched_off(act, watch):
    """The tool is no nginx: its code confirms nothing."""
    sent = 0
    while not watch.agent.events("target switched off: its layout is not the expected one"):
        # it may be switched off in the middle of the ten
        rose = collections.Counter(act("http1", "unlearned", count=10))
        assert rose["lost_learning"] + rose["filtered_target_off"] == rose.total() == 10
        assert act.keys == {}
        sent += 10
        assert sent < 5000
    assert sent >= 1000
    assert act("http1", "unlearned", count=10) == {"filtered_target_off": 10}


def test_wrong_layout_switches_its_target_off(act):
    rose = act("http1", "signature", count=100)
    assert rose == {"lost_layout": 16, "filtered_target_off": 84}
    assert act("http1", count=3) == {"filtered_target_off": 3}
