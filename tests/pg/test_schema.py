# SPDX-License-Identifier: MIT
"""Migrations, versions that don't fit, and who may do what."""
import os
import subprocess

import pytest
from conftest import TOOL
from model import GET, HEAD, NOON, digest, record, window

NUMBERS = sorted(int(name[:3]) for name in os.listdir(
    os.path.join(os.path.dirname(__file__), "..", "..", "deploy", "sql")) if name.endswith(".sql"))
ONE = window(record(GET, "v1", digest(1)))


def test_migration_twice_changes_nothing(cluster, tools):
    db = cluster.create()
    tool = tools(db.conninfo)
    first = tool.ask("migrate")
    assert first["err"] == 0
    before = db.rows("select * from pulltap.schema_version order by number")
    assert tool.ask("migrate")["err"] == 0
    assert db.rows("select * from pulltap.schema_version order by number") == before
    assert [row["number"] for row in before] == NUMBERS and first["version"] == NUMBERS[-1]


def test_migrations_at_once_all_succeed(cluster, tmp_path):
    db = cluster.create()
    running = [subprocess.Popen([TOOL, str(tmp_path / f"s{i}"), db.conninfo],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
               for i in range(6)]
    for process in running:
        process.stdin.write('{"cmd":"migrate"}\n')
        process.stdin.close()
    assert ['"err":0' in process.stdout.read() for process in running] == [True] * 6
    for process in running:
        process.wait()
    assert db.value("select count(*) from pulltap.schema_version") == len(NUMBERS)


def test_missing_schema_says_what_to_run(cluster, tools):
    answer = tools(cluster.create().conninfo).apply(ONE, expect="schema")
    assert "run: pulltap migrate" in answer["error"] and "3F000" in answer["error"]


def test_older_schema_says_what_to_run_and_goes_on_after_it(db, tool):
    older, last = NUMBERS[-2:]
    db.execute(f"update pulltap.schema_version set number = -1 where number = {last}")
    answer = tool.apply(ONE, expect="schema")
    assert f"is version {older}, this pulltap speaks {last}; run: pulltap migrate" \
        in answer["error"]
    db.execute(f"update pulltap.schema_version set number = {last} where number = -1")
    tool.apply()


def test_newer_schema_is_refused_by_both(db, tool):
    db.execute("insert into pulltap.schema_version values (999, 'later')")
    assert "install a newer pulltap" in tool.apply(ONE, expect="schema")["error"]
    assert tool.ask("migrate")["err"] == -71  # EPROTO
    assert "install a newer pulltap" in tool.stderr()


def test_file_changed_after_it_was_applied_is_refused(db, tool):
    db.execute("update pulltap.schema_version set checksum = 'x' where number = 2")
    assert tool.ask("migrate")["err"] == -71
    assert "002_" in tool.stderr()


@pytest.fixture
def agent(db):
    """What docs tell an operator to do for a node."""
    db.execute(f"create role agent_{db.name} login in role pulltap_agent")
    db.execute(f"create role reader_{db.name} login in role pulltap_reader")
    return db.conninfo.replace("user=postgres", f"user=agent_{db.name}")


def test_agent_role_needs_no_right_on_tables(db, agent, tools):
    tool = tools(agent)
    tool.apply(window(record(GET, "v1", digest(1)), record(HEAD, "\x01", digest(2)),
                      record(GET, "v2", "malformed")))
    tool.apply(window(record(GET, "v1", digest(2), NOON + 9)))
    assert db.value("select sum(pulls)::bigint from pulltap.tags") >= 2
    for statement in ("select * from pulltap.tag_total", "select * from pulltap.tags",
                      "update pulltap.tag_total set pulls = 0", "delete from pulltap.ledger",
                      "select pulltap.observe(1, 1, now(), 1::smallint)",
                      "select pulltap.move_tags('{}')", "select pulltap.grant_roles()",
                      "select pulltap.grant_views()",
                      "create table pulltap.x (a int)"):
        done = db.psql(statement, user=f"agent_{db.name}", check=False)
        assert "permission denied" in done.stderr, statement
    db.psql("select * from pulltap.feature_flag", user=f"agent_{db.name}")


def test_reader_role_sees_views_only(db, agent, tool):
    tool.apply(ONE)
    reader = f"reader_{db.name}"
    views = [r["viewname"] for r in
             db.rows("select viewname from pg_views where schemaname = 'pulltap'")]
    assert "tags" in views and "fleet" in views
    for view in views:
        db.psql(f"select * from pulltap.{view}", user=reader)
    for statement in ("select * from pulltap.tag_total", "select * from pulltap.ledger",
                      "select pulltap.maintain()", "insert into pulltap.feature_flag values ('a')"):
        assert "permission denied" in db.psql(statement, user=reader, check=False).stderr


def test_objects_of_the_caller_are_not_used(db, agent, tools):
    """search_path is pinned: a temporary or public operator can't get into definer functions."""
    for row in db.rows("select p.proname, p.proconfig from pg_proc p "
                       "where p.pronamespace = 'pulltap'::regnamespace and p.prosecdef"):
        assert "search_path=pg_catalog, pg_temp" in row["proconfig"], row


def test_role_without_rights_is_denied(db, tools):
    db.execute(f"create role nobody_{db.name} login")
    answer = tools(db.conninfo.replace("user=postgres", f"user=nobody_{db.name}")).apply(
        ONE, expect="denied")
    assert "42501" in answer["error"]


def test_wrong_password_is_denied(db, tools):
    db.execute("do $$ begin if not exists (select from pg_roles where rolname = 'needs_password') "
               "then create role needs_password login password 'right' in role pulltap_agent; "
               "end if; end $$")
    conninfo = db.conninfo.replace("user=postgres", "user=needs_password")
    assert "28P01" in tools(conninfo + " password=wrong").apply(ONE, expect="denied")["error"]
    assert "28P01" in tools(conninfo).apply(ONE, expect="denied")["error"]
    tools(conninfo + " password=right").apply(ONE)


@pytest.mark.parametrize("change, code", [("dbname=missing", "3D000"), ("user=missing", "28000")])
def test_missing_database_or_user_is_denied(db, tools, change, code):
    answer = tools(f"{db.conninfo} {change}").apply(ONE, expect="denied")
    assert code in answer["error"]


def test_roles_are_granted_later_when_migration_may_not_create_them(cluster, tools):
    """An owner without CREATEROLE migrates; missing roles are named, nothing fails."""
    db = cluster.create()
    cluster.admin.execute("drop role if exists plain")
    cluster.admin.execute("create role plain login")
    cluster.admin.execute(f"alter database {db.name} owner to plain")
    cluster.admin.execute("alter role pulltap_reader rename to hidden_reader")
    try:
        tool = tools(db.conninfo.replace("user=postgres", "user=plain"))
        answer = tool.ask("migrate")
        assert answer["err"] == 0, tool.stderr()
        tool.apply(ONE)
        assert db.psql("select * from pulltap.tags", user="plain").stdout
    finally:
        cluster.admin.execute("alter role hidden_reader rename to pulltap_reader")
        tool.close()
    again = tools(db.conninfo.replace("user=postgres", "user=plain"))
    assert again.ask("migrate")["err"] == 0
    db.psql("set role pulltap_reader; select * from pulltap.tags")
    db.psql("set role pulltap_reader; select * from pulltap.unbalanced")


def test_months_are_made_ahead_and_take_what_fell_beside(db, tool):
    this = db.value("select date_trunc('month', now() at time zone 'UTC')::date")
    db.execute("select pulltap.maintain()")
    names = db.rows("select relname from pg_class where relname ~ '^tag_day_[0-9]' "
                    "and relkind = 'r' order by 1")
    assert len(names) == 3
    db.execute(f"drop table pulltap.{names[1]['relname']}")
    db.execute("insert into pulltap.tag_day values "
               f"(1, '{this}'::date + interval '1 month', 5, 6), (1, '2001-01-01', 7, 8)")
    assert db.value("select count(*) from pulltap.tag_day_default") == 2
    assert db.value("select pulltap.maintain()") == 1
    assert db.value(f"select pulls from pulltap.{names[1]['relname']}") == 5
    assert db.value("select pulls from pulltap.tag_day_default") == 7
