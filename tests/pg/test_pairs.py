# SPDX-License-Identifier: MIT
"""
A HEAD that one node answered and the GET by digest that another one did: estimated, kept apart
from what was counted, never more than can be paired.
"""
import random
from collections import defaultdict

import pytest
from model import GET, HEAD, HINTED, MINUTE, digest, record, text, window

SLICE = 5 * MINUTE
A, B = digest(0xA), digest(0xB)


class Fleet:
    """Agents that report in turn; base is the start of a slice some twenty minutes ago."""

    def __init__(self, db, tools, size):
        self.db = db
        now = db.value("select (extract(epoch from now()) * 1000000)::bigint")
        self.base = (now - 20 * MINUTE) // SLICE * SLICE
        # one reads at its first window that others are there: so each reports once, then again
        spools = [tools(db.conninfo, node=f"node-{i}") for i in range(size)]
        for tool in spools:
            tool.apply(window(start=self.base - MINUTE, end=self.base))
        self.nodes = [tools(db.conninfo, spool=tool.spool, node=f"node-{i}")
                      for i, tool in enumerate(spools)]

    def report(self, node, *records):
        times = [item["last_us"] for item in records] or [self.base]
        self.nodes[node].apply(window(*records, end=max(times) + MINUTE))

    def pass_by(self, at, nodes=None):
        """All nodes report nothing up to a time."""
        for tool in self.nodes if nodes is None else [self.nodes[i] for i in nodes]:
            tool.apply(window(start=at - MINUTE, end=at))

    def settle(self, calls=1):
        for _ in range(calls):
            self.db.execute("select pulltap.apply_pairs("
                            "'00000000-0000-0000-0000-000000000000')")

    def tags(self):
        return {row["tag"]: (row["pulls"], row["checks"], row["estimated_pulls"])
                for row in self.db.rows("select * from pulltap.tags")}

    def waiting(self):
        return self.db.value("select count(*) from pulltap.unpaired")


def test_head_and_get_on_different_nodes_are_an_estimated_pull(db, tools):
    fleet = Fleet(db, tools, 2)
    fleet.report(0, record(HEAD, "v1", A, fleet.base + 1, 3))
    fleet.report(1, record(GET, "", A, fleet.base + 2, 2))
    fleet.settle()
    assert fleet.tags() == {"v1": (0, 3, 0)}, "the slice is not over for all"
    fleet.pass_by(fleet.base + SLICE)
    fleet.settle(2)
    assert fleet.tags() == {"v1": (0, 3, 2)}
    assert db.rows("select pulls, checks from pulltap.manifests") == [{"pulls": 2, "checks": 3}]
    assert db.value("select last_estimated_pull from pulltap.tags") == text(fleet.base + 1)
    assert fleet.waiting() == 0


def test_what_one_node_saw_alone_is_never_paired(db, tools):
    fleet = Fleet(db, tools, 2)
    fleet.report(0, record(HEAD, "v1", A, fleet.base, 5), record(GET, "", A, fleet.base, 5))
    fleet.pass_by(fleet.base + SLICE)
    fleet.settle()
    assert fleet.tags() == {"v1": (0, 5, 0)} and fleet.waiting() == 0


def test_one_agent_alone_sends_nothing_to_pair(db, tool):
    now = db.value("select (extract(epoch from now()) * 1000000)::bigint")
    for _ in range(3):
        tool.apply(window(record(HEAD, "v1", A, now), record(GET, "", A, now)))
    assert db.value("select count(*) from pulltap.unpaired") == 0


def test_pulls_that_a_node_paired_itself_are_not_estimated_again(db, tools):
    fleet = Fleet(db, tools, 2)
    fleet.report(0, record(HEAD, "v1", A, fleet.base, 4), record(HINTED, "v1", A, fleet.base, 4))
    fleet.report(1, record(GET, "", A, fleet.base, 9))
    assert fleet.waiting() == 1
    fleet.pass_by(fleet.base + SLICE)
    fleet.settle()
    assert fleet.tags() == {"v1": (4, 0, 0)}


def test_get_by_tag_is_no_half(db, tools):
    fleet = Fleet(db, tools, 2)
    fleet.report(0, record(HEAD, "v1", A, fleet.base))
    fleet.report(1, record(GET, "v1", A, fleet.base), record(GET, "v2", A, fleet.base))
    fleet.pass_by(fleet.base + SLICE)
    fleet.settle()
    assert fleet.tags() == {"v1": (1, 1, 0), "v2": (1, 0, 0)}


def test_halves_of_other_repositories_digests_or_slices_do_not_meet(db, tools):
    fleet = Fleet(db, tools, 2)
    fleet.report(0, record(HEAD, "v1", A, fleet.base))
    fleet.report(1, record(GET, "", A, fleet.base, repository="other"),
                 record(GET, "", B, fleet.base), record(GET, "", A, fleet.base + SLICE))
    fleet.pass_by(fleet.base + 2 * SLICE)
    fleet.settle(2)
    assert fleet.tags() == {"v1": (0, 1, 0)} and fleet.waiting() == 0


def test_settling_again_or_at_once_changes_nothing(db, tools):
    fleet = Fleet(db, tools, 2)
    fleet.report(0, record(HEAD, "v1", A, fleet.base, 7))
    fleet.report(1, record(GET, "", A, fleet.base, 7))
    fleet.pass_by(fleet.base + SLICE)
    other = db.background("begin; select pg_advisory_xact_lock(7885447, 2)")
    fleet.settle()
    assert fleet.waiting() == 2, "somebody else settles"
    other.stdin.write("rollback;\n")
    other.stdin.close()
    other.wait()
    fleet.settle(3)
    assert fleet.tags() == {"v1": (0, 7, 7)}


def test_rolled_back_settling_keeps_its_rows(db, tools):
    fleet = Fleet(db, tools, 2)
    fleet.report(0, record(HEAD, "v1", A, fleet.base))
    fleet.report(1, record(GET, "", A, fleet.base))
    fleet.pass_by(fleet.base + SLICE)
    db.execute("begin; select pulltap.apply_pairs('00000000-0000-0000-0000-000000000000'); "
               "rollback")
    assert fleet.waiting() == 2
    fleet.settle()
    assert fleet.tags() == {"v1": (0, 1, 1)}


def test_slice_waits_for_a_node_that_lags_but_an_hour_at_most(db, tools):
    fleet = Fleet(db, tools, 3)
    fleet.report(0, record(HEAD, "v1", A, fleet.base))
    fleet.report(1, record(GET, "", A, fleet.base))
    fleet.pass_by(fleet.base + SLICE, nodes=(0, 1))
    fleet.settle()
    assert fleet.waiting() == 2
    db.execute("update pulltap.agent set last_seen_at = now() - interval '61 minutes' "
               "where node = 'node-2'")
    fleet.settle()
    assert fleet.tags() == {"v1": (0, 1, 1)}


def test_clock_far_off_leaves_nothing_that_is_never_settled(db, tools):
    """A time ahead of the database's is brought back to it, one long past is not paired."""
    fleet = Fleet(db, tools, 2)
    for years in (-40, 40):
        at = fleet.base + years * 365 * 24 * 60 * MINUTE
        fleet.report(0, record(HEAD, "v1", A, at))
        fleet.report(1, record(GET, "", A, at))
    assert db.value("select count(*) from pulltap.unpaired where at < now() - interval '1 day' "
                    "or at > now() + interval '5 minutes'") == 0


def test_duplicate_window_adds_no_halves(db, tools):
    fleet = Fleet(db, tools, 2)
    item = window(record(HEAD, "v1", A, fleet.base, 2), end=fleet.base + 1)
    sequence = fleet.nodes[0].write(item)
    fleet.nodes[0].apply(keep=True)
    fleet.nodes[0].apply(expect="duplicate")
    assert sequence and fleet.waiting() == 1


def test_agent_role_may_pair(db, tools):
    db.execute(f"create role agent_{db.name} login in role pulltap_agent")
    db.conninfo = db.conninfo.replace("user=postgres", f"user=agent_{db.name}")
    fleet = Fleet(db, tools, 2)
    fleet.report(0, record(HEAD, "v1", A, fleet.base))
    assert fleet.waiting() == 1


def most_pairs(heads, gets):
    """HEADs per node against GETs per node, none with its own: augmenting paths, unit by unit."""
    left = [n for n, count in enumerate(heads) for _ in range(count)]
    right = [n for n, count in enumerate(gets) for _ in range(count)]
    match = {}

    def place(i, tried):
        for j, node in enumerate(right):
            if node != left[i] and j not in tried:
                tried.add(j)
                if j not in match or place(match[j], tried):
                    match[j] = i
                    return True
        return False

    return sum(place(i, set()) for i in range(len(left)))


@pytest.mark.parametrize("seed", range(8))
def test_random_fleets_equal_a_matching_by_hand(db, tools, seed):
    rng, size = random.Random(seed), 4
    fleet = Fleet(db, tools, size)
    expected, heads_of = 0, defaultdict(int)
    records = [[] for _ in range(size)]
    for number in range(12):
        dig, tags = digest(100 + number), [f"t{number}-{i}" for i in range(rng.randrange(1, 4))]
        heads, gets = [0] * size, [0] * size
        for node in range(size):
            for tag in tags:
                count = rng.choice([0, 0, 1, 2, 5])
                if count:
                    records[node].append(record(HEAD, tag, dig, fleet.base + node, count))
                    heads[node] += count
                    heads_of[tag] += count
            gets[node] = rng.choice([0, 0, 1, 3, 8])
            if gets[node]:
                records[node].append(record(GET, "", dig, fleet.base + node, gets[node]))
        expected += most_pairs(heads, gets)
    for node in range(size):
        fleet.report(node, *records[node])
    fleet.pass_by(fleet.base + SLICE)
    fleet.settle()
    assert sum(estimated for _, _, estimated in fleet.tags().values()) == expected
    for tag, (pulls, checks, estimated) in fleet.tags().items():
        assert pulls == 0 and checks == heads_of[tag] and 0 <= estimated <= heads_of[tag]
