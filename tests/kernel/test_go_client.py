# SPDX-License-Identifier: MIT
"""Who asked, read from every layout of Go's request and every kind of map its header can be."""
import itertools

import pytest

import watching
from watching import Watch

from test_go_memory import LAYOUTS, MAPS, act  # noqa: F401

BY_ADDRESS = "exclude forwarded peer=203.0.113.9 user-agent=docker/*\n"


@pytest.fixture(scope="module")
def watch():
    with watching.Folder("pulltap-client-") as folder:
        rules = folder.write("rules", BY_ADDRESS)
        watch = Watch(window=3600, arguments=["--rules", rules, "--trusted-proxy", "192.0.2.0/24",
                                              "--trusted-proxy", "198.51.100.7"])
        yield watch
        watch.close()


@pytest.mark.parametrize("layout, kind", itertools.product(LAYOUTS, MAPS))
def test_every_layout_with_every_map_gives_agent_and_forwarded_address(act, layout, kind):  # noqa: F811
    groups = {"small": 1, "growing": 2}.get(kind, 8)
    assert act(layout, kind, groups, at=groups // 2 if kind != "growing" else 0) == {
        "filtered_excluded": 1}


@pytest.mark.parametrize("kind", MAPS)
def test_request_without_headers_is_nobodys(act, kind):  # noqa: F811
    groups = {"small": 1, "growing": 4}.get(kind, 16)
    assert act("http1", kind, groups, at=-1) == {"counted": 1, "note_digest_missing": 1}


@pytest.mark.parametrize("fault", ["map", "group"])
@pytest.mark.parametrize("kind", MAPS)
def test_header_that_is_not_there_is_noted_and_the_pull_counts(act, kind, fault):  # noqa: F811
    groups = 2 if kind == "growing" else 1
    assert act("http1", kind, groups, fault=fault) == {
        "counted": 1, "note_digest_unread": 1, "note_client_unread": 1}
