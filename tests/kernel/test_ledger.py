# SPDX-License-Identifier: MIT
"""What is wrong with the books is the first thing that anybody is told: by status, by doctor, in
the log and in the database."""

import json
import re
import uuid

import pytest

import watching
from watching import Watch, bpftool, run, until

from lib.agent import BINARY
from lib.hits import Load, wait_shipped


@pytest.fixture
def folder():
    with watching.Folder("pulltap-ledger-") as folder:
        yield folder


@pytest.fixture
def begin():
    watches = []

    def start(**options):
        watches.append(Watch(**options))
        return watches[-1]

    yield start
    for watch in watches:
        watch.abandon()


def ask(watch, command, *more):
    """A command for this agent that may fail: exit status and what it printed."""
    done = run([BINARY, command, *more, "--bpffs", watch.agent.bpffs, "--state-dir",
                watch.agent.state, *(["--database", watch.postgres.conninfo()]
                                     if command != "status" else [])], check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, done.stdout


def doctor(watch):
    return [row for row in json.loads(ask(watch, "doctor", "--output", "json")[1])
            if row["check"] in ("status", "books", "balance", "losses", "gaps")]


def test_all_is_well_when_nothing_is_wrong(begin, folder):
    watch = begin()
    Load(folder, watch).start(1, 1_000, 50).wait()
    wait_shipped(watch, 1_000)
    code, text = ask(watch, "status")
    assert code == 0 and "TROUBLE" not in text, text
    assert json.loads(ask(watch, "status", "--output", "json")[1])["trouble"] == []
    assert [(row["check"], row["verdict"]) for row in doctor(watch)] == [
        ("books", "ok"), ("status", "ok")]


def test_count_that_vanishes_is_missed_by_everyone(begin, folder):
    """Somebody deletes a key behind the agent's back: the kernel has counted it, the file lacks
    it."""
    watch = begin(window=3600)
    Load(folder, watch).start(1, 5_000, 50).wait()
    counts = f"{watch.agent.bpffs}/window_0/counts"
    entry = json.loads(bpftool("-j", "map", "dump", "pinned", counts).stdout)[0]
    gone = sum(cpu["value"]["count"] for cpu in entry["formatted"]["values"])
    bpftool("map", "delete", "pinned", counts, "key", *entry["key"])
    watch.agent.pause()
    error, = [line for line in watch.agent.log().splitlines() if "do not balance" in line]
    assert "level=error" in error and f"difference={gone} seen=5000 entered=5000 " \
        f"drained={5000 - gone}" in error
    code, text = ask(watch, "status")
    assert code == 1
    assert text.startswith("TROUBLE    the books do not balance in 1 windows, last in window 1 "), \
        text
    assert f"by {gone} hits\n" in text.splitlines(keepends=True)[0]
    row, = watch.postgres.rows("select node, seen, counted, difference from pulltap.unbalanced")
    assert (row["seen"], row["counted"], row["difference"]) == (5_000, 5_000 - gone, gone)
    assert watch.postgres.value("select unbalanced_24h from pulltap.fleet") == 1
    said = doctor(watch)
    assert [(one["check"], one["verdict"]) for one in said][:2] == [
        ("balance", "FAIL"), ("status", "FAIL")], said
    assert said[0]["found"].startswith(f"{row['node']}: 1 windows do not balance, by {gone} hits")


def test_loss_is_told_with_its_reason_and_what_to_do(begin, folder):
    """Far more keys than there is room for while nobody drains."""
    watch = begin(arguments=["--max-keys", "1024"])
    watch.agent.kill()
    Load(folder, watch).start(1, 20_000, 20_000).wait()
    watch.agent.start()
    wait_shipped(watch, 20_000)
    lost = watch.counters()["lost_map_full"]
    assert lost >= 20_000 - 1024 - 4096
    assert "level=error" in watch.agent.log() and f"lost_map_full={lost}" in watch.agent.log()
    # the agent's own words are a second old at most
    until(lambda: ask(watch, "status")[0] == 1, 10, what="status knows")
    first, second = ask(watch, "status")[1].splitlines()[:2]
    assert first.startswith(f"TROUBLE    {lost} hits lost, lost_map_full: no room for a new key; ")
    assert second.strip() == "-> raise --max-keys"
    assert watch.postgres.value("select lost_24h from pulltap.fleet") == lost
    found = doctor(watch)[0]
    assert (found["check"], found["verdict"], found["advice"]) == (
        "losses", "FAIL", "raise --max-keys")
    assert f": {lost} hits lost, lost_map_full, last at " in found["found"]


def test_status_without_an_agent_says_so_first(begin):
    watch = begin()
    watch.agent.kill()
    code, text = ask(watch, "status")
    assert code == 1 and text.startswith("TROUBLE    no agent runs"), text


def stream_of(watch):
    """The uuid that each slot of the control map begins with."""
    return uuid.UUID(watch.postgres.value("select agent from pulltap.windows limit 1")).bytes


def leave_half_cleared(watch):
    """What an agent leaves that dies while it clears a window: the programs use the other one, a
    key is gone already, the counters are not."""
    bpffs = watch.agent.bpffs
    entry, = json.loads(bpftool("-j", "map", "dump", "pinned", f"{bpffs}/control").stdout)
    control = bytearray(int(byte, 16) for byte in entry["value"])
    slots = [found.start() for found in re.finditer(re.escape(stream_of(watch)), bytes(control))]
    active = control[4]
    control[4] = 1 - active
    control[slots[active] + 40] = 2  # pt_slot.dirty, PT_SLOT_WRITTEN
    counts = f"{bpffs}/window_{active}/counts"
    key = json.loads(bpftool("-j", "map", "dump", "pinned", counts).stdout)[0]["key"]
    bpftool("map", "delete", "pinned", counts, "key", *key)
    bpftool("map", "update", "pinned", f"{bpffs}/control", "key", "0", "0", "0", "0", "value",
            *map(str, control))
    after, = watching.dump_map(f"{bpffs}/control")
    assert after["value"]["active"] != active
    assert [slot["dirty"] for slot in after["value"]["slot"]][active] == "PT_SLOT_WRITTEN"
    return counts


def test_window_that_is_on_disk_and_half_cleared_is_not_written_again(begin, folder):
    """It has no balance any more, and the database has it already."""
    watch = begin(window=3600)
    load = Load(folder, watch)
    load.start(1, 2_000, 50).wait()
    watch.agent.pause()
    load.start(1, 2_000, 50).wait()
    counts = leave_half_cleared(watch)
    watch.agent.start()
    watch.agent.pause()
    assert "do not balance" not in watch.agent.log()
    assert watch.postgres.value("select sum(seen) from pulltap.windows") == 2_000
    assert sum(cpu["value"]["count"] for entry in watching.dump_map(counts)
               for cpu in entry["values"]) == 0
