# SPDX-License-Identifier: MIT
"""apache's request in memory, with and without redirects, and every way in which memory can be
something else: each ends in the counter that says so, and no wrong name, digest or client is ever
counted. build/tools/apache_memory lays the memory out."""
import pytest

import watching
from watching import MemoryTool, TOOLS, Watch

DIGEST = "sha256:" + "00112233445566778899aabbccddeeff" * 2
SHAPES = ["plain", "redirected", "inner"]
KNOWN, UNKNOWN = ("memory", "v1", DIGEST), ("memory", "v1", "")
# the connection's own address is a proxy's, and 192.0.2.77 stands last in the line
RULES = """exclude forwarded peer=203.0.113.9 user-agent=docker/*
exclude forwarded-other peer=203.0.113.9
exclude proxy peer=127.0.0.1
"""


@pytest.fixture(scope="module")
def plain():
    watch = Watch(window=3600)  # nothing is drained while the test looks
    yield watch
    watch.close()


@pytest.fixture(scope="module")
def ruled():
    with watching.Folder("pulltap-client-") as folder:
        watch = Watch(window=3600, arguments=[
            "--rules", folder.write("rules", RULES), "--trusted-proxy", "127.0.0.1",
            "--trusted-proxy", "192.0.2.0/24"])
        yield watch
        watch.close()


def actor(watch):
    """act(...) -> the counters that rose; a fresh site, so that no earlier failure counts."""
    if not (TOOLS / "apache_memory").exists():
        watching.missing(f"{TOOLS}/apache_memory is not built")
    with MemoryTool(watch, "apache_memory") as tool:
        def do(shape="plain", fault="none", status=200, count=1):
            rose = tool.run(shape, fault, status, count)
            do.keys = tool.keys
            return rose

        yield do


@pytest.fixture
def act(plain):
    yield from actor(plain)


@pytest.fixture
def ask(ruled):
    yield from actor(ruled)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fault", ["none", "case", "in-err", "second-step", "last-entry",
                                   "address", "no-address", "client-table"])
def test_every_shape_gives_name_and_digest(act, shape, fault):
    """A client's address and headers are needed for hints and rules alone."""
    assert act(shape, fault) == {"counted": 1}
    assert act.keys == {KNOWN: 1}


@pytest.mark.parametrize("fault, note", [
    ("headless", "note_digest_missing"), ("empty", "note_digest_missing"),
    ("empty-value", "note_digest_missing"), ("malformed", "note_digest_malformed"),
    ("long-value", "note_digest_malformed"), ("value", "note_digest_unread"),
    ("key", "note_digest_unread"), ("elements", "note_digest_unread"),
    ("beyond", "note_digest_unread")])
@pytest.mark.parametrize("shape", SHAPES)
def test_reply_without_a_digest_that_can_be_read_counts_for_its_tag(act, shape, fault, note):
    assert act(shape, fault) == {"counted": 1, note: 1}
    assert act.keys == {UNKNOWN: 1}


@pytest.mark.parametrize("fault", [
    "pool-zero", "pool-odd", "connection-zero", "connection-odd", "in-zero", "out-zero", "out-odd",
    "err-zero", "method-high", "method-other", "size", "err-size", "count-large", "room-large",
    "table-pool", "elements-odd"])
def test_every_canary_that_fails_is_a_lost_layout(act, fault):
    assert act("plain", fault) == {"lost_layout": 1}
    assert act.keys == {}


@pytest.mark.parametrize("status", [1000, 65536, 4294967295])
def test_status_that_is_none_is_a_lost_layout(act, status):
    assert act(status=status) == {"lost_layout": 1}


@pytest.mark.parametrize("fault", ["last-connection", "last-prev", "size", "count-large"])
def test_redirect_that_is_none_is_a_lost_layout(act, fault):
    assert act("redirected", fault) == {"lost_layout": 1}
    assert act.keys == {}


@pytest.mark.parametrize("shape, fault", [
    ("plain", "object"), ("plain", "line"), ("plain", "uri"), ("plain", "table"),
    ("plain", "err-table"), ("redirected", "next"), ("redirected", "loop")])
def test_memory_that_is_not_there_is_a_fault(act, shape, fault):
    assert act(shape, fault) == {"lost_fault": 1}
    assert act.keys == {}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fault, status, counter", [
    ("none", 206, "filtered_status_206"), ("none", 304, "counted"),
    ("head", 200, "counted"), ("head", 304, "counted"),
    ("none", 401, "filtered_status_401"), ("none", 404, "filtered_status_404"),
    ("none", 408, "filtered_status_4xx"), ("none", 502, "filtered_status_5xx"),
    ("none", 301, "filtered_status_3xx"), ("none", 0, "filtered_unanswered"),
    ("put", 201, "counted"), ("put", 200, "filtered_status_2xx"),
    ("unknown", 200, "filtered_method"), ("no-line", 408, "filtered_method"),
    ("no-uri", 400, "filtered_method"), ("short-line", 400, "filtered_method")])
def test_status_is_what_was_sent_and_method_what_was_asked(act, shape, fault, status, counter):
    assert act(shape, fault, status) == {counter: 1}


def test_wrong_layout_switches_its_target_off(act):
    assert act("plain", "size", count=100) == {"lost_layout": 16, "filtered_target_off": 84}
    assert act("plain", count=3) == {"filtered_target_off": 3}


def rule(ask):
    """The name of the rule that excluded the request."""
    names = {tag for repository, tag, _ in ask.keys if not repository}
    assert len(names) == 1, ask.keys
    return names.pop()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fault", ["none", "client-upper", "client-long", "client-forwarded",
                                   "client-real-ip"])
def test_every_shape_gives_agent_and_forwarded_address(ask, shape, fault):
    assert ask(shape, fault) == {"filtered_excluded": 1}
    assert rule(ask) == "forwarded"


def test_request_without_headers_is_the_proxys(ask):
    assert ask("plain", "client-none") == {"filtered_excluded": 1}
    assert rule(ask) == "proxy"


@pytest.mark.parametrize("fault", ["client-table", "client-size", "client-elements", "client-many",
                                   "client-key", "client-agent", "client-line", "client-endless"])
def test_headers_that_are_not_all_there_are_noted_and_not_believed(ask, fault):
    assert ask("plain", fault) == {"filtered_excluded": 1, "note_client_unread": 1}
    assert rule(ask) == "proxy"
