# SPDX-License-Identifier: MIT
"""Who asked, out of nginx's list of the client's headers in every shape, and every way in which it
can be something else: then the peer is the client, the counter says so, and nothing is believed."""
import pytest

import watching
from watching import Watch

from test_nginx_memory import SHAPES, act  # noqa: F401

# the connection's own address is a proxy's, and 192.0.2.77 stands in the last line
RULES = """exclude forwarded peer=203.0.113.9 user-agent=docker/*
exclude forwarded-other peer=203.0.113.9
exclude proxy peer=127.0.0.1
"""


@pytest.fixture(scope="module")
def watch():
    with watching.Folder("pulltap-client-") as folder:
        watch = Watch(window=3600, arguments=[
            "--rules", folder.write("rules", RULES), "--trusted-proxy", "127.0.0.1",
            "--trusted-proxy", "192.0.2.0/24"])
        yield watch
        watch.close()


def rule(act):  # noqa: F811
    """The name of the rule that excluded the request."""
    names = {tag for repository, tag, _ in act.keys if not repository}
    assert len(names) == 1, act.keys
    return names.pop()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fault", ["none", "in-upper", "in-last-part"])
def test_every_shape_gives_agent_and_forwarded_address(act, shape, fault):  # noqa: F811
    assert act(shape, fault) == {"filtered_excluded": 1}
    assert rule(act) == "forwarded"


@pytest.mark.parametrize("shape", ["http1", "old"])
def test_deleted_header_is_none(act, shape):  # noqa: F811
    assert act(shape, "in-deleted") == {"filtered_excluded": 1}
    assert rule(act) == "forwarded-other"


def test_request_without_headers_is_the_proxys(act):  # noqa: F811
    assert act("http1", "in-none") == {"filtered_excluded": 1}
    assert rule(act) == "proxy"


@pytest.mark.parametrize("shape", ["http1", "old"])
@pytest.mark.parametrize("fault", ["in-unknown", "in-many-parts", "in-next-part", "in-elements",
                                   "in-count", "in-size", "in-pool", "in-line", "in-agent"])
def test_headers_that_are_not_all_there_are_noted_and_not_believed(act, shape, fault):  # noqa: F811
    assert act(shape, fault) == {"filtered_excluded": 1, "note_client_unread": 1}
    assert rule(act) == "proxy"
