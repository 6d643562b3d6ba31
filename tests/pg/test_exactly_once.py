# SPDX-License-Identifier: MIT
"""Each window counts once: lost answers, killed sessions, forgotten names, racing agents."""
import os
import threading
import time

import pytest
from lib.proxy import SQLSTATES, Proxy
from model import (DAY, DELETE, GET, HEAD, MINUTE, NOON, PUT, Model, compare, digest, history,
                   record, window)


def some(n=20, start=NOON, reverse=False):
    records = [record(GET, f"v{i}", digest(i), start + i) for i in range(n)]
    return window(*(reversed(records) if reverse else records))


def pulls(db):
    return db.value("select coalesce(sum(pulls), 0)::bigint from pulltap.tags")


def test_same_window_again_is_a_duplicate(db, tool):
    tool.apply(some(), keep=True)
    tool.apply(expect="duplicate")
    assert pulls(db) == 20
    assert tool.ask("stats")["duplicate"] == 1


def test_older_sequence_is_a_duplicate(db, tool):
    tool.apply({**some(), "sequence": 7})
    tool.apply({**some(), "sequence": 5}, expect="duplicate")
    assert pulls(db) == 20


def test_agents_have_sequences_of_their_own(db, tools):
    for _ in range(2):
        tools(db.conninfo).apply({**some(), "sequence": 1})
    assert pulls(db) == 40


@pytest.mark.parametrize("cut, second", [("commit sent", "duplicate"), ("commit held", "accepted")])
def test_line_cut_at_commit_counts_once(db, tools, tmp_path, cut, second):
    folder = tmp_path / "proxy"
    folder.mkdir()
    proxy = Proxy(folder, os.path.join(db.cluster.socket, ".s.PGSQL.5432"), cut)
    tool = tools(f"host={folder} dbname={db.name} user=postgres")
    answer = tool.apply(some(), expect="retry")
    assert answer["error"].startswith("commit: "), answer
    tool.apply(expect=second)
    assert proxy.cuts == 1
    assert pulls(db) == 20
    proxy.close()


def test_session_killed_again_and_again_counts_once(db, tool):
    """Whatever statement the kill meets, 60 windows come out exact."""
    over = threading.Event()

    def kill():
        while not over.wait(0.03):
            db.psql("select pg_terminate_backend(pid) from pg_stat_activity "
                    f"where datname = '{db.name}' and application_name = 'pulltap'")

    killer = threading.Thread(target=kill)
    killer.start()
    failures = 0
    try:
        for i in range(60):
            tool.write(some(200, NOON + i * MINUTE))
            for _ in range(200):
                result = tool.ask("apply")["result"]
                if result in ("accepted", "duplicate"):
                    break
                assert result == "retry"
                failures += 1
    finally:
        over.set()
        killer.join()
    assert failures > 0
    assert pulls(db) == 60 * 200
    assert db.value("select count(*) from pulltap.windows") == 60


def test_names_removed_behind_the_cache_are_registered_again(db, tool):
    tool.apply(some())
    db.execute("truncate pulltap.tag, pulltap.manifest cascade")
    tool.apply(some(start=NOON + MINUTE))
    assert pulls(db) == 20
    assert db.value("select count(*) from pulltap.windows") == 2
    assert db.value("select sum(pulls)::bigint from pulltap.manifests") == 20


def test_totals_removed_behind_the_cache_are_made_again(db, tool):
    tool.apply(some())
    db.execute("delete from pulltap.tag_total where tag_id % 2 = 0")
    tool.apply(some(start=NOON + MINUTE))
    assert pulls(db) == 30


def test_a_cache_of_a_few_names_is_only_slower(db, tools):
    tool, model = tools(db.conninfo, cache=8), Model()
    for i in range(5):
        item = some(300, NOON + i * MINUTE)
        tool.apply(item)
        model.add(item)
    compare(db, model)


def test_two_agents_on_the_same_keys_never_wait_in_a_ring(db, tools):
    """Records in opposite orders; the store sorts. Also over a change of day, which inserts."""
    agents = [tools(db.conninfo, node=f"node-{i}") for i in range(2)]
    results = [[], []]

    def work(i):
        for n in range(25):
            item = some(3000, NOON + (n // 10) * DAY + n * MINUTE, reverse=i == 1)
            agents[i].write(item)
            results[i].append(agents[i].ask("apply"))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [r for part in results for r in part if r["result"] != "accepted"]
    # a lock may be waited for longer than its timeout on a busy machine, a ring may not happen
    assert all("55P03" in r["error"] for r in refused), refused
    for i, part in enumerate(results):
        for r in part:
            if r["result"] != "accepted":
                agents[i].apply()
    assert pulls(db) == 2 * 25 * 3000
    assert db.value("select deadlocks from pg_stat_database where datname = current_database()"
                    ) == 0


def test_two_agents_that_meet_new_names_at_once(db, tools):
    agents = [tools(db.conninfo) for _ in range(4)]
    for i, agent in enumerate(agents):
        agent.write(some(2000, reverse=i % 2))
    threads = [threading.Thread(target=agent.apply) for agent in agents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pulls(db) == 4 * 2000
    assert db.value("select count(*) from pulltap.tag") == 2000


def test_locked_table_means_retry_within_the_timeout(db, tools):
    tool = tools(db.conninfo, timeout_ms=300)
    tool.apply(some(5))
    holder = db.background("begin; lock table pulltap.tag_total")
    started = time.time()
    answer = tool.apply(some(5, NOON + MINUTE), expect="retry")
    assert time.time() - started < 5
    assert "55P03" in answer["error"] or "57014" in answer["error"]
    holder.kill()
    holder.wait()
    deadline = time.time() + 10
    while tool.ask("apply")["result"] != "accepted":
        assert time.time() < deadline
        time.sleep(0.1)
    assert pulls(db) == 10


def test_statement_timeout_means_retry_and_smaller_calls(db, tools):
    """A trigger makes rows dear: the window only fits after the calls have shrunk."""
    tool = tools(db.conninfo, timeout_ms=1000)
    tool.apply(some(4000))
    db.execute("create function public.slow() returns trigger language plpgsql as "
               "$$ begin perform pg_sleep(0.0004); return new; end $$")
    db.execute("create trigger slow before update on pulltap.tag_total for each row "
               "execute function public.slow()")
    tool.write(some(4000, NOON + MINUTE))
    answers = []
    for _ in range(8):
        answers.append(tool.ask("apply"))
        if answers[-1]["result"] == "accepted":
            break
    assert answers[0]["result"] == "retry" and "57014" in answers[0]["error"]
    assert answers[-1]["result"] == "accepted"
    assert pulls(db) == 8000


def test_server_gone_means_retry(tools, tmp_path):
    answer = tools(f"host={tmp_path} dbname=x user=y").apply(some(), expect="retry")
    assert answer["error"].startswith("connect: ")


def test_silent_server_ends_in_time(tools, tmp_path):
    """Accepts and never answers; then the stop order ends even that wait."""
    import socket
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / ".s.PGSQL.5432"))
    listener.listen()
    tool = tools(f"host={tmp_path} dbname=x user=y", timeout_ms=500)
    tool.write(some())
    answer = tool.ask("ship", timeout_ms=300)
    assert answer["waiting"] == 1 and not answer["empty"]
    listener.close()


def test_history_that_is_refused_does_not_hold_back_counts(db, tool):
    db.execute("alter table pulltap.tag_version add check (started_by <> 3)")
    tool.apply(window(record(PUT, "v1", digest(1)), record(GET, "v1", digest(1), NOON + 1)))
    assert pulls(db) == 1
    assert db.rows("select * from pulltap.tag_history") == []
    assert "versions were refused" in tool.stderr()


def test_calls_without_a_claim_are_refused(db, tool):
    tool.apply(some(1))
    done = db.psql("select pulltap.apply_rejected((select agent from pulltap.ledger), 1, "
                   "'{}', '{}', '{}', '{}', '{}', '{}', '{}')", check=False)
    assert "is not claimed in this transaction" in done.stderr


# A window for which every statement of the store is sent, and each of them fails once.

STATEMENTS = ["set", "prepare:schema_number", "schema_number", "prepare:claim_window", "maintain",
              "intern_tags", "intern_manifests", "clock", "begin", "claim_window", "apply_tags",
              "apply_manifests", "apply_days", "apply_versions", "apply_rejected", "commit"]


def rich(number):
    """New names, a change of day, two manifests under a tag, a deletion, a name that is no text."""
    at = NOON + number * 3 * DAY
    return window(*(record(GET, f"n{number}-{i}", digest(100 * number + i), at + i * DAY, i + 1)
                    for i in range(3) for _ in range(2)),
                  record(PUT, "v1", digest(number), at + 1),
                  record(GET, "v1", digest(number + 1), at + 2),
                  record(DELETE, "", digest(number + 1), at + 3),
                  record(HEAD, "v2", digest(7), at), record(HEAD, "v2", digest(7), at + DAY))


@pytest.mark.parametrize("sqlstate", sorted(SQLSTATES.values()))
def test_any_statement_that_fails_once_is_made_good(db, tools, tmp_path, sqlstate):
    folder, model = tmp_path / "proxy", Model()
    folder.mkdir()
    proxy = Proxy(folder, os.path.join(db.cluster.socket, ".s.PGSQL.5432"))
    for number, statement in enumerate(STATEMENTS):
        tool = tools(f"host={folder} dbname={db.name} user=postgres")
        item = rich(number)
        bad = {**record(GET, "", "", item["records"][0]["last_us"]), "tag_hex": "ff"}
        del bad["tag"]
        tool.write({**item, "records": [*item["records"], bad]})
        model.add(item)
        proxy.fail(statement, sqlstate)
        for _ in range(5):
            answer = tool.ask("apply")
            if answer["result"] in ("accepted", "duplicate"):
                break
            assert sqlstate in answer["error"] or sqlstate.startswith(("08", "57P")), answer
        assert answer["result"] == "accepted", (statement, answer)
        assert proxy.armed() == [], "that statement is never sent"
    proxy.close()
    assert proxy.failed == len(STATEMENTS)
    compare(db, model)
    assert history(db) == model.versions()
    assert db.value("select sum(count)::bigint from pulltap.rejects") == len(STATEMENTS)
    assert db.value("select count(*) from pulltap.windows") == len(STATEMENTS)


# The shipper.

def test_shipper_empties_the_spool(db, tool):
    for i in range(30):
        tool.write(some(10, NOON + i * MINUTE))
    answer = tool.ask("ship", timeout_ms=20000)
    assert answer["empty"] and answer["state"] == "idle" and answer["waiting"] == 0
    assert pulls(db) == 300


def test_shipper_puts_a_damaged_file_aside_and_goes_on(db, tool):
    for i in range(3):
        tool.write(some(10, NOON + i * MINUTE))
    files = sorted(f for f in os.listdir(tool.spool) if f.endswith(".win"))
    with open(os.path.join(tool.spool, files[1]), "r+b") as file:
        file.seek(300)
        file.write(b"\xa5\x5a\xa5")
    answer = tool.ask("ship", timeout_ms=20000)
    assert answer["empty"] and answer["put_aside"] == 1
    assert pulls(db) == 20
    assert db.rows("select missing_sequences from pulltap.gaps") == [{"missing_sequences": 1}]


def test_shipper_waits_for_the_server_and_goes_on(db, tools, tmp_path):
    folder = tmp_path / "late"
    folder.mkdir()
    tool = tools(f"host={folder} dbname={db.name} user=postgres")
    tool.write(some(10))
    starter = threading.Timer(0.7, lambda: Proxy(folder, os.path.join(
        db.cluster.socket, ".s.PGSQL.5432")))
    starter.start()
    answer = tool.ask("ship", timeout_ms=20000)
    assert answer["empty"] and answer["error"] == ""
    assert pulls(db) == 10
    assert tool.ask("stats")["failures"] > 1


def test_shipper_names_what_stops_it(cluster, tools):
    empty = cluster.create()
    tool = tools(empty.conninfo)
    tool.write(some(1))
    answer = tool.ask("ship", timeout_ms=500)
    assert answer["state"] == "schema" and "run: pulltap migrate" in answer["error"]
    assert answer["waiting"] == 1


# Outages that last, with a spool that is small.

def outage(tool, model, count, first=0, records=20):
    """So many windows of ten seconds that meet, each with the same names."""
    for i in range(first, first + count):
        start = NOON + i * 10 * 1000000
        item = window(*(record(GET, f"v{n}", digest(n), start + n, n % 3 + 1)
                        for n in range(records)), start=start, end=start + 10 * 1000000,
                      ledger={"seen": 2 * records, "counted": 2 * records})
        tool.write(item)
        model.add(item)


def files(tool):
    return sorted(name for name in os.listdir(tool.spool) if name.endswith(".win"))


def test_windows_merged_while_the_server_was_away_count_once(db, tools, tmp_path):
    folder, model = tmp_path / "away", Model()
    folder.mkdir()
    tool = tools(f"host={folder} dbname={db.name} user=postgres")
    outage(tool, model, 200)
    answer = tool.ask("ship", timeout_ms=3000, limit=60000)
    assert not answer["empty"] and answer["error"].startswith("connect: ")
    assert sum(os.path.getsize(os.path.join(tool.spool, name)) for name in files(tool)) <= 45000
    outage(tool, model, 100, first=200)
    proxy = Proxy(folder, os.path.join(db.cluster.socket, ".s.PGSQL.5432"))
    again = tools(f"host={folder} dbname={db.name} user=postgres", spool=tool.spool)
    answer = again.ask("ship", timeout_ms=30000, limit=60000)
    assert answer["empty"] and answer["put_aside"] == 0
    proxy.close()
    compare(db, model)
    rows = db.rows("select * from pulltap.windows order by sequence")
    assert sum(row["merged"] for row in rows) == 300 and len(rows) < 60
    assert [row["merged"] for row in (rows[0], rows[-1])] == [1, 1]
    assert all(row["balanced"] for row in rows)
    assert sum(row["seen"] for row in rows) == 300 * 40
    assert db.rows("select * from pulltap.gaps") == []


def test_merged_window_of_which_a_part_was_applied_is_put_aside(db, tool, tools):
    """As when files were copied about by hand: refused as a whole, not half counted."""
    tool.apply({**some(), "sequence": 4})
    tool.write({**some(), "sequence": 6, "merged": 3})
    tool.write({**some(), "sequence": 9, "merged": 3})
    answer = tool.ask("ship", timeout_ms=10000)
    assert answer["empty"] and answer["put_aside"] == 1
    assert pulls(db) == 40
    reason, = [name for name in os.listdir(os.path.join(tool.spool, "bad"))
               if name.endswith(".reason")]
    with open(os.path.join(tool.spool, "bad", reason)) as file:
        assert "PT003" in file.read()
    tools(db.conninfo, spool=tool.spool).apply({**some(), "sequence": 9, "merged": 2},
                                               expect="duplicate")
    assert pulls(db) == 40


def test_what_can_not_be_put_aside_does_not_hold_up_the_others(db, tool):
    for i in range(3):
        tool.write(some(10, NOON + i * MINUTE))
    with open(os.path.join(tool.spool, files(tool)[0]), "wb") as file:
        file.write(b"garbage")
    with open(os.path.join(tool.spool, "bad"), "wb") as file:
        file.write(b"no folder")
    answer = tool.ask("ship", timeout_ms=3000)
    assert not answer["empty"] and answer["state"] == "spool" and answer["waiting"] == 1
    assert pulls(db) == 20
