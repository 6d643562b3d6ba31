# SPDX-License-Identifier: MIT
"""One private cluster for the session, a database of its own for each test, and the tool that
drives the store."""
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile

import pytest

sys.path[:0] = [os.path.dirname(__file__),
                os.path.join(os.path.dirname(__file__), "..", "e2e")]

BUILD = os.environ.get("PULLTAP_BUILD",
                       os.path.join(os.path.dirname(__file__), "..", "..", "build"))
TOOL = os.path.join(BUILD, "tools", "pg_apply")
BIN = sorted((os.path.dirname(path) for path in
              __import__("glob").glob("/usr/lib/postgresql/*/bin/postgres")),
             key=lambda path: float(path.split("/")[4]))[-1]
numbers = itertools.count(1)


def as_server(argv, **kwargs):
    """Runs a server program; PostgreSQL refuses root."""
    if os.geteuid() == 0:
        argv = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups",
                "--"] + argv
    return subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, cwd="/", **kwargs)


class Database:
    def __init__(self, cluster, name):
        self.cluster, self.name = cluster, name
        self.conninfo = f"host={cluster.socket} dbname={name} user=postgres"

    def psql(self, sql, user="postgres", check=True):
        done = subprocess.run(
            ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", self.cluster.socket, "-U", user,
             "-d", self.name, "-c", sql], capture_output=True, text=True,
            env={**os.environ, "PGTZ": "UTC"})
        if check and done.returncode:
            raise AssertionError(f"{sql}\n{done.stderr}")
        return done

    def execute(self, sql):
        self.psql(sql)

    def rows(self, sql):
        text = self.psql(f"select coalesce(json_agg(t), '[]') from ({sql}) t").stdout
        return json.loads(text)

    def value(self, sql):
        row, = self.rows(sql)
        value, = row.values()
        return value

    def background(self, sql):
        """A session that runs sql until it is closed (stdin) or killed."""
        process = subprocess.Popen(
            ["psql", "-XAtq", "-h", self.cluster.socket, "-U", "postgres", "-d", self.name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        process.stdin.write(sql + ";\nselect 'ready';\n")
        process.stdin.flush()
        while process.stdout.readline().strip() != "ready":
            assert process.poll() is None, "background session ended"
        return process


class Cluster:
    def __init__(self, folder):
        self.folder = folder
        self.socket = folder
        self.data = os.path.join(folder, "data")
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
            os.chmod(folder, 0o755)
        as_server([f"{BIN}/initdb", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C",
                   "-U", "postgres", "-D", self.data])
        with open(f"{self.data}/postgresql.conf", "a") as config:
            config.write(f"listen_addresses = ''\nunix_socket_directories = '{folder}'\n"
                         "fsync = off\nmax_connections = 60\nshared_buffers = 64MB\n")
        with open(f"{self.data}/pg_hba.conf") as old:
            trust = old.read()
        with open(f"{self.data}/pg_hba.conf", "w") as new:
            new.write("local all needs_password scram-sha-256\n" + trust)
        as_server([f"{BIN}/pg_ctl", "-w", "-s", "-D", self.data, "-l", f"{self.data}/log",
                   "start"])
        self.admin = Database(self, "postgres")

    def create(self, options="", name=None):
        name = name or f"t{next(numbers)}"
        self.admin.execute(f'create database "{name}" {options}')
        return Database(self, name)

    def stop(self):
        as_server([f"{BIN}/pg_ctl", "-s", "-D", self.data, "-m", "immediate", "stop"])


@pytest.fixture(scope="session")
def cluster():
    folder = tempfile.mkdtemp(prefix="pulltap-pg-")
    cluster = Cluster(folder)
    yield cluster
    cluster.stop()
    shutil.rmtree(folder)


class Tool:
    """One pg_apply process: one spool, one store with its cache and connection."""

    def __init__(self, conninfo, spool, timeout_ms=0, cache=0, node="node-1"):
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [TOOL, spool, conninfo, str(timeout_ms), str(cache)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self.errors, text=True,
            env={**os.environ, "NODE": node})

    def ask(self, cmd, **arguments):
        self.process.stdin.write(json.dumps({"cmd": cmd, **arguments}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"pg_apply ended: {self.process.wait()}\n{self.stderr()}"
        return json.loads(line)

    def write(self, window):
        answer = self.ask("write", **window)
        assert answer["err"] == 0, answer
        return answer["sequence"]

    def apply(self, window=None, expect="accepted", **arguments):
        """Writes window when one is given, then applies the oldest."""
        if window is not None:
            self.write(window)
        answer = self.ask("apply", **arguments)
        assert answer["result"] == expect, (answer, self.stderr())
        return answer

    def stderr(self):
        self.errors.seek(0)
        return self.errors.read()

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(20) == 0, self.stderr()


@pytest.fixture
def tools(tmp_path):
    """make(conninfo, ...) starts a tool with a spool of its own (or the one named)."""
    made = []

    def make(conninfo, spool=None, **kwargs):
        spool = spool or str(tmp_path / f"spool{next(numbers)}")
        made.append(Tool(conninfo, spool, **kwargs))
        made[-1].spool = spool
        return made[-1]

    yield make
    for tool in made:
        tool.close()


@pytest.fixture(scope="session")
def template(cluster, tmp_path_factory):
    database = cluster.create(name="template_pulltap")
    tool = Tool(database.conninfo, str(tmp_path_factory.mktemp("migrate") / "spool"))
    assert tool.ask("migrate")["err"] == 0, tool.stderr()
    tool.close()
    return database.name


@pytest.fixture
def db(cluster, template):
    """A migrated, empty database."""
    return cluster.create(f"template {template}")


@pytest.fixture
def tool(db, tools):
    return tools(db.conninfo)
