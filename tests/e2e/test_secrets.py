# SPDX-License-Identifier: MIT
"""
The way to the database: TLS that is checked, passwords from files and the environment that show
nowhere, and an agent that waits without losing a count while something about them is wrong.
"""
import os
import shutil

import pytest

from lib import books
from lib.agent import Agent, BINARY, migrate
from lib.images import Image
from lib.load import pull
from lib.postgres import Postgres
from lib.proc import Folder, clean_environment, free_port, run, until
from lib.registry import Registry, make_certificate
from lib.rights import USER
from lib.truth import Truth

pytestmark = pytest.mark.needs_pulltap

PASSWORD = "hush4'\\ hush"


class Remote:
    """A cluster that is reached by TCP with TLS and a password only, as one elsewhere would be."""

    def __init__(self, keep, tls=True):
        self.postgres = keep(Postgres())
        self.folder = self.postgres.folder
        self.port = free_port()
        self.authority, certificate, key = make_certificate(self.folder)
        shutil.chown(key, "postgres", "postgres")
        os.chmod(key, 0o600)
        with open(f"{self.postgres.data}/postgresql.conf", "a") as config:
            # the socket's name holds the port too
            config.write("listen_addresses = '127.0.0.1'\n"
                         f"port = {self.port}\n"
                         f"ssl = {'on' if tls else 'off'}\nssl_cert_file = '{certificate}'\n"
                         f"ssl_key_file = '{key}'\n")
        self.postgres.PORT = self.port
        self.postgres.hba(f"host{'ssl' if tls else ''} all node_agent 127.0.0.1/32 scram-sha-256",
                          "local all node_agent reject")
        self.postgres.start()
        migrate(self.postgres)
        quoted = PASSWORD.replace("'", "''")
        self.postgres.execute("set standard_conforming_strings = on; create role node_agent login "
                              f"password '{quoted}' in role pulltap_agent")

    def conninfo(self, authority, host="127.0.0.1"):
        return (f"host={host} hostaddr=127.0.0.1 port={self.port} dbname=pulltap user=node_agent "
                f"sslmode=verify-full sslrootcert={authority}")

    def passfile(self, folder, owner=USER):
        path = folder.write("pgpass", "*:*:*:*:" + PASSWORD.replace("\\", "\\\\") + "\n")
        os.chmod(path, 0o600)
        shutil.chown(path, owner)
        return path


@pytest.fixture
def registry(keep):
    registry = keep(Registry()).start()
    for number in range(3):
        registry.push(Image(f"secret-{number}"), f"team/app-{number}", "v1")
    return registry


def readable(folder, name, source):
    """A copy that the agent's user may read."""
    path = folder / name
    shutil.copy(source, path)
    os.chmod(path, 0o644)
    return path


def everything_shown(agent):
    """What anyone on the machine could see of an agent, and what goes to its log."""
    seen = [agent.log(everything=True)]
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    seen.append(file.read().decode("utf-8", "replace"))
            except (FileNotFoundError, ProcessLookupError):
                continue
    with open(f"{agent.state}/status.json") as file:
        seen.append(file.read())
    seen.append(run([BINARY, "run", *agent.arguments, "--print-config"],
                    env=clean_environment(**agent._environment)).stdout)
    return "\n".join(seen)


def test_verified_tls_and_a_password_file_carry_every_count(keep, folder, registry):
    remote = Remote(keep)
    agent = keep(Agent(remote.conninfo(readable(folder, "ca.crt", remote.authority)),
                       target=registry.pid, arguments=["--user", USER],
                       environment={"PGPASSFILE": remote.passfile(folder)})).start()
    truth = pull(registry, Truth(registry.names()))
    until(lambda: remote.postgres.value("select count(*) from pulltap.windows") > 0, 30,
          what=lambda: "a window arrives\n" + agent.log())
    used = remote.postgres.rows(
        "select s.ssl, s.version from pg_stat_ssl s join pg_stat_activity a using (pid) "
        "where a.usename = 'node_agent'")
    assert used and all(row["ssl"] and row["version"].startswith("TLSv1") for row in used), used
    assert PASSWORD not in everything_shown(agent)
    agent.stop()
    books.check(remote.postgres, truth)


@pytest.mark.parametrize("wrong, says", [
    ("authority", "certificate verify failed"),
    ("host", "does not match host name"),
    ("no TLS", "server does not support SSL"),
    ("password", "password authentication failed"),
])
def test_what_cannot_be_verified_is_named_and_costs_nothing(keep, folder, registry, wrong, says):
    """Set right while the agent runs: files are read again at each try."""
    remote = Remote(keep, tls=wrong != "no TLS")
    authority = remote.authority
    if wrong == "authority":
        with Folder("pulltap-other-ca-") as other:
            authority = readable(folder, "ca.crt", make_certificate(other)[0])
    authority = readable(folder, "trusted.crt", authority)
    passfile = remote.passfile(folder)
    if wrong == "password":
        with open(passfile, "w") as file:
            file.write("*:*:*:*:hush-wrong\n")
    agent = keep(Agent(remote.conninfo(authority, "db.example.org" if wrong == "host"
                                       else "127.0.0.1"),
                       target=registry.pid, arguments=["--user", USER],
                       environment={"PGPASSFILE": passfile})).start()
    truth = pull(registry, Truth(registry.names()))
    until(lambda: says in agent.log(), 30, what=lambda: f"it says {says}\n{agent.log()}")
    until(lambda: says in agent.status()["agent"]["shipping"]["last_error"], 10,
          what="status says so, too")
    assert agent.process.running()
    assert "hush" not in everything_shown(agent)
    assert remote.postgres.value("select count(*) from pulltap.windows") == 0
    if wrong == "authority":
        readable(folder, "trusted.crt", remote.authority)
    elif wrong == "password":
        remote.passfile(folder)
    elif wrong == "no TLS":
        remote.postgres.execute("alter system set ssl = on")
        remote.postgres.execute("select pg_reload_conf()")
    else:  # the setting itself: another start
        agent.pause()
        agent.arguments = [a.replace("host=db.example.org", "host=127.0.0.1")
                           for a in agent.arguments]
        agent.start()
    until(lambda: remote.postgres.value("select count(*) from pulltap.windows") > 0, 90,
          what=lambda: "the windows arrive\n" + agent.log())
    agent.stop()
    books.check(remote.postgres, truth)


def test_a_password_of_the_environment_shows_nowhere(keep, folder, registry):
    remote = Remote(keep)
    quoted = PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
    conninfo = (remote.conninfo(readable(folder, "ca.crt", remote.authority))
                + f" password='{quoted}'")
    agent = keep(Agent(conninfo, target=registry.pid, arguments=["--user", USER])).start()
    truth = pull(registry, Truth(registry.names()))
    until(lambda: remote.postgres.value("select count(*) from pulltap.windows") > 0, 30,
          what=lambda: "a window arrives\n" + agent.log())
    shown = everything_shown(agent)
    assert "hush" not in shown and "password=****" in shown
    agent.stop()
    books.check(remote.postgres, truth)


@pytest.mark.parametrize("database", [
    "host=127.0.0.1 password=hush4 hush5", "host=127.0.0.1 password='hush4",
    "postgresql://u:hush4%zzhush5@127.0.0.1/d", "postgresql://u:hush4@hush5@127.0.0.1/d",
    "postgresql://u:hush4/hush5@127.0.0.1/d", "postgresql://u@127.0.0.1/d?password=hush4%zz",
])
@pytest.mark.parametrize("command", ["run", "ls", "migrate", "doctor"])
def test_half_a_password_is_in_no_message(folder, database, command):
    pins = "/sys/fs/bpf/pulltap-test-" + os.path.basename(folder.path)
    done = run([BINARY, command, "--state-dir", folder / "state",
                *(["--bpffs", pins] if command in ("run", "doctor") else [])],
               check=False, env=clean_environment(PULLTAP_DATABASE=database))
    if command == "run":
        run([BINARY, "uninstall", "--bpffs", pins, "--state-dir", folder / "state"])
    assert done.returncode in (1, 2)
    said = done.stdout + done.stderr
    assert "hush" not in said, said
    assert "quote" in said or "%40" in said, said
