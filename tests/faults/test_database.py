# SPDX-License-Identifier: MIT
"""
Fault 3: PostgreSQL stops, restarts, breaks off and takes back what it said; the spool's disk is
full; the outage is so long that windows are merged, by agents that are killed while they do it.
"""
import os
import subprocess
import time

from lib import deaths
from lib.agent import pulltap
from lib.proc import until
from lib.proxy import Proxy
from scene import Scene

LIMIT = 1 << 20  # the smallest that --spool-limit takes
FULL = "a window can't be written, its counts stay in the kernel"


def row(logged, sums, more=""):
    return f"{len(logged):,} requests, {sums['counted']:,} counted{more}, exact"


def test_database_away_for_two_minutes_costs_nothing(keep, database, scaled, figure):
    away = scaled(120, least=10)
    with Scene(keep, database) as scene:
        time.sleep(3)
        database.stop()
        time.sleep(away)
        waiting = len(scene.agent.spool())
        database.start()
        until(lambda: len(scene.agent.spool()) <= 1, 60, what="the spool is empty again")
    assert waiting >= away / 2
    figure("PostgreSQL stopped", f"{away} s, {waiting} windows waited", row(*scene.finish()))


def test_database_restarted_in_a_transaction_counts_once(keep, database, scaled, figure):
    deaths.seed()
    with Scene(keep, database) as scene:
        death = deaths.Deaths(scene.agent, database)
        for _ in range(scaled(50, least=8)):
            death.strike("server_in_transaction")
    assert death.held >= death.counts["server_in_transaction"] // 2
    figure("PostgreSQL restarted",
           f"{death.counts['server_in_transaction']} times, {death.held} in mid-transaction",
           row(*scene.finish()))


def test_line_cut_after_commit_was_sent_counts_once(keep, database, scaled, figure):
    times = scaled(50, least=8)
    folder = os.path.join(database.folder.make("proxy"))
    proxy = keep(Proxy(folder, os.path.join(database.socket, f".s.PGSQL.{database.PORT}")))
    with Scene(keep, database, conninfo=database.conninfo(host=folder)) as scene:
        for number in range(1, times + 1):
            proxy.cut = "commit sent"
            until(lambda: proxy.cuts == number, 30, what="a commit was cut off")
    logged, sums = scene.finish()
    # each window of them was claimed again and found there
    duplicates = scene.agent.status_file()["shipping"]["duplicate"]
    assert duplicates >= times
    figure("line cut after COMMIT", f"{times} times, {duplicates} found applied",
           row(logged, sums))


class SmallDisk:
    """A file system of its own for the agent's state, small and soon full."""

    def __init__(self, path, kib):
        self.path = path
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k,mode=0755", "pulltap-test",
                        path], check=True)

    def remount(self, mode):
        subprocess.run(["mount", "-o", f"remount,{mode}", self.path], check=True)

    def fill(self):
        with open(os.path.join(self.path, "ballast"), "wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError:
                pass

    def clear(self):
        os.unlink(os.path.join(self.path, "ballast"))

    def close(self):
        subprocess.run(["umount", "-l", self.path], check=True)


def check_status_says_so(scene):
    done = pulltap("status", "--state-dir", scene.agent.state, "--bpffs", scene.agent.bpffs,
                   check=False)
    assert done.returncode == 1
    assert "written" in done.stdout.splitlines()[0], done.stdout


def is_written_again(scene, before):
    return scene.agent.status_file()["windows"]["last_sequence"] > before


def test_full_or_read_only_disk_keeps_counts_in_the_kernel(keep, database, scaled, figure):
    full = scaled(40, least=13)
    scene = Scene(keep, database)
    disk = keep(SmallDisk(scene.agent.state, 512))
    with scene:
        time.sleep(2)
        for begin, end in ((disk.fill, disk.clear),
                           (lambda: disk.remount("ro"), lambda: disk.remount("rw"))):
            before = scene.agent.status_file()["windows"]["last_sequence"]
            begin()
            until(lambda: scene.agent.log().count(FULL), 30, what="the alarm")
            time.sleep(full)
            check_status_says_so(scene)
            end()
            until(lambda: is_written_again(scene, before), 30, what="windows are written")
    figure("spool's disk full, then read-only", f"{full} s each", row(*scene.finish()))


def test_outage_that_fills_the_disk_ends_by_itself(keep, database, scaled, figure):
    """Windows that can be sent again make the room for those that could not be written."""
    full = scaled(40, least=13)
    scene = Scene(keep, database)
    keep(SmallDisk(scene.agent.state, 128))
    with scene:
        time.sleep(2)
        database.stop()
        until(lambda: FULL in scene.agent.log(), 120, what="the disk is full")
        time.sleep(full)
        check_status_says_so(scene)
        waiting = len(scene.agent.spool())
        database.start()
        until(lambda: len(scene.agent.spool()) <= 1, 60, what="the spool is empty again")
    figure("disk filled by an outage", f"{waiting} windows, {full} s without room",
           row(*scene.finish()))


def long_names(registry):
    """Names so long that a few seconds of windows fill a spool."""
    return registry.fill(60, repositories=3, prefix="long" * 45 + "/r")


class Merges:
    """Looks for merging at work: a merged window's name is longer than others."""

    def __init__(self, scene):
        self.scene, self.known, self.most = scene, set(), 0

    def look(self):
        """A file is being made while there is something to merge, or a merged one is there."""
        names = os.listdir(self.scene.spool)
        size = self.scene.spool_bytes()
        self.most = max(self.most, size)
        merged = {name for name in names if name.endswith(".win") and len(name) > 57}
        fresh, self.known = merged - self.known, self.known | merged
        return bool(fresh) or (size > LIMIT * 3 / 4
                               and any(name.startswith("tmp-") for name in names))


def test_windows_merged_by_agents_that_are_killed_count_once(keep, database, scaled, figure):
    kills, caught = scaled(30, least=8), 0
    scene = Scene(keep, database, clients=3, names=long_names,
                  arguments=["--spool-limit", "1"])
    with scene:
        database.stop()
        until(lambda: scene.spool_bytes() > LIMIT * 0.7, 120, what="the spool is nearly full")
        merges = Merges(scene)
        for _ in range(kills):
            end = time.monotonic() + 5
            while time.monotonic() < end and not merges.look():
                time.sleep(0.0005)
            caught += time.monotonic() < end
            scene.agent.kill()
            scene.agent.start()
            time.sleep(0.5)
        until(lambda: merges.look() and merges.known, 60, what="windows were merged")
        until(lambda: scene.spool_bytes() <= LIMIT, 30, what="the spool is within its limit")
        database.start()
        until(lambda: len(scene.agent.spool()) <= 1, 60, what="the spool is empty again")
    logged, sums = scene.finish()
    rows = database.rows("select count(*) as rows, sum(merged) as windows, max(merged) as most "
                         "from pulltap.windows where merged > 1")[0]
    assert rows["rows"] > 0
    assert database.rows("select * from pulltap.gaps") == []
    figure("merged in an outage", f"agent killed {kills} times, {caught} while merging",
           row(logged, sums, f", {rows['windows']} windows in {rows['rows']} "
                             f"(spool at most {merges.most >> 10} KiB)"))
