# SPDX-License-Identifier: MIT
"""
deploy/create-agent-role.sh makes a role that can do an agent's work and nothing else, and its
password shows nowhere.
"""
import os
import secrets
import subprocess

import pytest

from test_schema import ONE

SCRIPT = os.path.join(os.path.dirname(__file__), "..", "..", "deploy", "create-agent-role.sh")
# What agents read themselves: the switch.
READABLE = {"feature_flag"}


def create(db, *arguments, password=None, check=True):
    done = subprocess.run([SCRIPT, *arguments], input=password, capture_output=True, text=True)
    if check:
        assert done.returncode == 0, done.stderr
    return done


@pytest.fixture
def role(db):
    name = "node_" + secrets.token_hex(4)
    yield name
    db.psql(f"drop owned by {name}; drop role {name}", check=False)


@pytest.fixture
def strict(cluster):
    """The cluster asks everyone but its administrator for a password."""
    path = f"{cluster.data}/pg_hba.conf"
    with open(path) as old:
        text = old.read()
    with open(path, "w") as new:
        new.write("local all postgres trust\nlocal all all scram-sha-256\n")
    cluster.admin.execute("select pg_reload_conf()")
    yield
    with open(path, "w") as new:
        new.write(text)
    cluster.admin.execute("select pg_reload_conf()")


def connection(db, role, passfile):
    return db.conninfo.replace("user=postgres", f"user={role}") + f" passfile={passfile}"


def test_role_does_an_agents_work_and_nothing_else(db, strict, role, tools, tmp_path):
    passfile = tmp_path / "pgpass"
    create(db, role, db.conninfo, str(passfile))
    assert os.stat(passfile).st_mode & 0o777 == 0o600
    tool = tools(connection(db, role, passfile))
    tool.apply(ONE)
    tool.apply(ONE)
    assert db.value("select sum(pulls) from pulltap.tags") is not None
    rights = db.rows(f"""
        select c.relname, p.privilege from pg_class c
        cross join unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES',
                                'TRIGGER']) as p (privilege)
        where c.relnamespace = 'pulltap'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')
          and has_table_privilege('{role}', c.oid, p.privilege)""")
    assert {(row["relname"], row["privilege"]) for row in rights} <= {
        (name, "SELECT") for name in READABLE}, rights
    attributes = db.rows(f"select rolsuper, rolcreatedb, rolcreaterole, rolreplication, "
                         f"rolbypassrls, rolcanlogin from pg_roles where rolname = '{role}'")[0]
    assert attributes.pop("rolcanlogin") and not any(attributes.values())
    for statement in ("create table pulltap.mine ()", "create schema mine",
                      "select * from pulltap.tags", "select * from pulltap.ledger",
                      "update pulltap.tag_total set pulls = 0", "delete from pulltap.ledger",
                      "insert into pulltap.feature_flag values ('agents')",
                      "select pulltap.grant_roles()", "create role other",
                      "copy pulltap.tag to program 'cat'", "select pg_read_file('/etc/passwd')",
                      "set role postgres", "set role pulltap_reader"):
        done = subprocess.run(["psql", "-XAtq", "-c", statement, connection(db, role, passfile)],
                              capture_output=True, text=True)
        assert done.returncode, statement
        assert "permission denied" in done.stderr or "must be superuser" in done.stderr, done.stderr


def test_password_is_in_no_log_of_the_server(db, strict, role, tools, tmp_path):
    db.execute("alter system set log_statement = 'all'")
    db.execute("select pg_reload_conf()")
    try:
        create(db, role, db.conninfo, password="correct horse 'battery'\n")
    finally:
        db.execute("alter system reset log_statement")
        db.execute("select pg_reload_conf()")
    with open(f"{db.cluster.data}/log") as log:
        text = log.read()
    assert role in text and "SCRAM-SHA-256" in text
    assert "battery" not in text
    passfile = tmp_path / "pgpass"
    passfile.write_text(f"*:*:*:{role}:correct horse 'battery'\n")
    passfile.chmod(0o600)
    tools(connection(db, role, passfile)).apply(ONE)


def test_role_that_exists_gets_a_new_password_and_loses_other_rights(db, strict, role, tools,
                                                                     tmp_path):
    db.execute(f"create role {role} createdb nologin; grant pulltap_reader to {role}")
    passfile = tmp_path / "pgpass"
    create(db, role, db.conninfo, password="first\n")
    create(db, role, db.conninfo, str(passfile))
    tools(connection(db, role, passfile)).apply(ONE)
    assert db.value(f"select rolcreatedb from pg_roles where rolname = '{role}'") is False
    assert not db.value(f"select pg_has_role('{role}', 'pulltap_reader', 'member')")


@pytest.mark.parametrize("name", ["", "Robert'); drop table x", "9lives", "pulltap_agent", "a b"])
def test_name_that_is_no_role_is_refused(db, name):
    done = create(db, name, db.conninfo, password="x\n", check=False)
    assert done.returncode == 2 and "ROLE" in done.stderr or "is the group" in done.stderr


@pytest.mark.parametrize("conninfo", ["host=h password=x", "postgresql://u:x@h/d"])
def test_password_in_the_connection_string_is_refused(conninfo):
    done = create(None, "node", conninfo, password="x\n", check=False)
    assert done.returncode == 2 and "process list" in done.stderr


@pytest.mark.parametrize("password", ["", "\n"])
def test_missing_password_is_refused_before_anything_is_made(db, role, password):
    done = create(db, role, db.conninfo, password=password, check=False)
    assert done.returncode == 2 and "password" in done.stderr
    assert db.value(f"select count(*) from pg_roles where rolname = '{role}'") == 0


def test_database_without_the_groups_is_named(cluster, role):
    cluster.admin.execute("alter role pulltap_agent rename to hidden_agent")
    try:
        done = create(None, role, cluster.admin.conninfo, password="x\n", check=False)
    finally:
        cluster.admin.execute("alter role hidden_agent rename to pulltap_agent")
    assert done.returncode != 0 and 'run "pulltap migrate" first' in done.stderr
