# SPDX-License-Identifier: MIT
"""
What clients, registries and operators get wrong: hostile names, odd replies, a database that is
away, a full disk, missing rights. Nothing may be counted under a name that was not asked for,
nothing may get lost without being told, and messages must say what to do.
"""
import errno
import os
import re
import shutil
import socket
import subprocess
import time

import pytest

from lib import books, load
from lib.agent import BINARY, Agent, migrate, pulltap
from lib.images import Image
from lib.permissive import Permissive, name_of
from lib.postgres import Postgres
from lib.proc import Folder, run, until
from lib.registry import Registry
from lib.truth import Truth

pytestmark = pytest.mark.needs_pulltap

HOSTILE = {
    "dots": b"/v2/a/../b/manifests/t",
    "only dots": b"/v2/../manifests/..",
    "escaped dots": b"/v2/a/%2e%2e/b/manifests/%2E%2E",
    "quote": b"/v2/it's/manifests/o'clock",
    "escaped sql": b"/v2/a%27)%3B%20drop%20schema%20pulltap%20cascade%3B%20--/manifests/t",
    "raw sql": b"/v2/a';truncate/**/pulltap.tag_total;--/manifests/t",
    "double quotes": b'/v2/"a"/manifests/"t"',
    "backslashes": b"/v2/a\\\\b\\/manifests/\\t",
    "array text": b"/v2/{a,NULL}/manifests/NULL",
    "dollar": b"/v2/$1/manifests/$$",
    "format": b"/v2/%25s%25n/manifests/%25d",
    "newline": b"/v2/a%0ab/manifests/t%0d%0a",
    "escape sequence": b"/v2/a%1b[2Jb/manifests/t",
    "html": b"/v2/%3Cscript%3Ealert(1)%3C/script%3E/manifests/t",
    "utf-8": "/v2/größe/manifests/日本".encode(),
    "escaped utf-8": b"/v2/%F0%9F%90%B3/manifests/t",
    "percent alone": b"/v2/100%25/manifests/t",
    "longest tag": b"/v2/a/manifests/" + b"t" * 128,
    "longest repository": b"/v2/" + b"r" * 512 + b"/manifests/t",
    "long, deep": b"/v2/" + b"deep/" * 40 + b"a/manifests/t",
    "manifests in the name": b"/v2/manifests/manifests/manifests/manifests",
    "two v2": b"/v2/v2/v2/manifests/t",
    "prefix": b"/some/where/v2/a/manifests/prefixed",
    "space": b"/v2/a%20b/manifests/%20",
    "colon first": b"/v2/a:b/manifests/t",
    "only a query differs": b"/v2/query/manifests/t?x=/v2/other/manifests/u",
}
# bytes that a text column can't hold: the rows are kept apart, with the reason
NOT_TEXT = {
    "invalid utf-8": b"/v2/a\xff\xfe/manifests/t",
    "escaped invalid utf-8": b"/v2/a%C3%28/manifests/%ff",
    "surrogate": b"/v2/%ED%A0%80/manifests/t",
    "overlong": b"/v2/%C0%AF/manifests/t",
}
TOO_LONG = {
    "64 KiB": b"/v2/" + b"x" * 65536 + b"/manifests/t",
    "64 KiB query-less depth": b"/v2/" + b"x/" * 32768 + b"manifests/t",
    "tag of 129": b"/v2/a/manifests/" + b"t" * 129,
    "repository of 513": b"/v2/" + b"r" * 513 + b"/manifests/t",
}
NUL = {
    "in the repository": b"/v2/victim%00x/manifests/t",
    "in the tag": b"/v2/a/manifests/victim%00x",
    "first": b"/v2/%00victim/manifests/%00",
}


class Scene:
    """The permissive server, a database and an agent that watches the server."""

    def __init__(self, keep, database, **options):
        self.database = database
        self.server = keep(Permissive()).start()
        self.agent = keep(Agent(database.conninfo(), self.server.pid, **options)).start()

    def finish(self):
        assert self.server.process.running(), "the server must survive"
        self.agent.stop()

    def counters(self):
        rows = self.database.rows(
            "select c.key, sum(c.value::bigint)::bigint as sum from pulltap.windows w cross join "
            "lateral jsonb_each_text(w.counters) c group by 1")
        return {row["key"]: row["sum"] for row in rows}

    def balanced(self):
        assert self.database.rows("select * from pulltap.windows where not balanced") == []
        assert self.database.rows("select * from pulltap.losses") == []


def test_hostile_names_are_stored_as_they_are(keep, database):
    scene = Scene(keep, database)
    for target in HOSTILE.values():
        assert scene.server.send(target)[0] == 200
        assert scene.server.send(target, "HEAD")[0] == 200
    logged = scene.server.requests()
    scene.finish()
    assert len(logged) == 2 * len(HOSTILE)

    wanted = {}
    for request, digest in logged:
        repository, tag = (part.decode() for part in name_of(request.uri))
        wanted[repository, tag] = digest
    stored = {(row["repository"], row["tag"]): row for row in database.tags("test")}
    assert set(stored) == set(wanted)
    for name, digest in wanted.items():
        row = stored[name]
        assert (row["pulls"], row["checks"], row["digest"]) == (1, 1, digest), name
    assert len(database.manifests("test")) == len(wanted)
    assert database.rows("select * from pulltap.rejects") == []
    assert database.value("select count(*) from pulltap.tag_total") == len(wanted)
    scene.balanced()


def test_names_that_are_no_text_are_kept_apart_with_a_reason(keep, database):
    scene = Scene(keep, database)
    assert scene.server.send("/v2/good/manifests/t")[0] == 200
    for target in NOT_TEXT.values():
        for _ in range(3):
            assert scene.server.send(target)[0] == 200
    assert scene.server.send("/v2/good/manifests/t")[0] == 200
    logged = scene.server.requests()
    scene.finish()

    assert [(row["repository"], row["tag"], row["pulls"]) for row in database.tags("test")] == \
        [("good", "t", 2)]
    wanted = {name_of(request.uri) for request, _ in logged} - {(b"good", b"t")}
    rejected = database.rows("select encode(repository, 'hex') as repository, encode(tag, 'hex') "
                             "as tag, sum(count)::bigint as count, min(reason) as reason "
                             "from pulltap.rejected group by 1, 2")
    assert {(bytes.fromhex(row["repository"]), bytes.fromhex(row["tag"]))
            for row in rejected} == wanted
    assert {row["count"] for row in rejected} == {3}
    assert all(row["reason"] for row in rejected)
    scene.balanced()


def test_names_that_are_too_long_are_told_apart(keep, database):
    scene = Scene(keep, database)
    for target in TOO_LONG.values():
        assert scene.server.send(target)[0] == 200
    scene.finish()
    assert database.tags("test") == []
    counters = scene.counters()
    # one of them has no name before "manifests", but no room to find out
    assert counters.get("filtered_name_too_long") == len(TOO_LONG), counters
    scene.balanced()


def test_a_nul_never_cuts_a_name_short(keep, database):
    """A client must not be able to count for "victim" by asking for "victim%00x"."""
    scene = Scene(keep, database)
    for target in NUL.values():
        assert scene.server.send(target)[0] == 200
    scene.finish()
    stored = [(row["repository"], row["tag"]) for row in database.tags("test")]
    assert not [name for name in stored if "victim" in name], stored
    counters = scene.counters()
    kept = database.value("select coalesce(sum(count), 0) as sum from pulltap.rejected")
    told = sum(count for name, count in counters.items() if name.startswith("filtered_"))
    assert kept + told - counters.get("filtered_stack_growth", 0) == len(NUL), counters
    scene.balanced()


def test_many_headers_never_cost_the_pull(keep, database):
    scene = Scene(keep, database)
    sizes = (0, 1, 5, 6, 7, 8, 20, 50, 100, 500, 2000)
    for size in sizes:
        for _ in range(3):
            assert scene.server.send(f"/v2/headers/manifests/n{size}?headers={size}")[0] == 200
    digests = {name_of(request.uri)[1].decode(): digest
               for request, digest in scene.server.requests()}
    scene.finish()
    tags = {row["tag"]: row for row in database.tags("test")}
    assert {tag: row["pulls"] for tag, row in tags.items()} == {f"n{size}": 3 for size in sizes}
    for size in sizes[:9]:
        assert tags[f"n{size}"]["digest"] == digests[f"n{size}"], size
    unread = scene.counters().get("note_digest_unread", 0)
    found = sum(row["pulls"] for row in database.manifests("test"))
    assert found + unread == 3 * len(sizes)
    # whatever was found is right
    assert {row["digest"] for row in database.manifests("test")} <= set(digests.values())
    scene.balanced()


MALFORMED = ("sha256:", "sha256:zz", "nonsense", "sha256:" + "g" * 64, "sha256:" + "0" * 63,
             "'; drop table pulltap.manifest; --", "sha256:" + "0" * 200, ":", "x" * 4000)


def test_missing_and_malformed_digests_count_for_the_tag_alone(keep, database):
    scene = Scene(keep, database)
    for _ in range(3):
        assert scene.server.send("/v2/none/manifests/t?digest=none")[0] == 200
    for number, digest in enumerate(MALFORMED):
        text = "".join(f"%{byte:02x}" for byte in digest.encode())
        assert scene.server.send(f"/v2/bad/manifests/t{number}?digest={text}")[0] == 200
    for digest in ("sha512:" + "a1" * 64, "sha384:" + "b2" * 48):
        assert scene.server.send(f"/v2/good/manifests/{digest[:6]}?digest={digest}")[0] == 200
    scene.finish()
    tags = {(row["repository"], row["tag"]): row for row in database.tags("test")}
    rejected = database.rows("select repository, tag, digest, reason from pulltap.rejects")
    assert tags["none", "t"]["pulls"] == 3 and tags["none", "t"]["digest"] is None
    for number, digest in enumerate(MALFORMED):
        row = tags.get(("bad", f"t{number}"))
        assert row, (digest, rejected)
        assert (row["pulls"], row["digest"]) == (1, None), digest
    assert tags["good", "sha512"]["digest"] == "sha512:" + "a1" * 64
    assert tags["good", "sha384"]["digest"] == "sha384:" + "b2" * 48
    assert {row["repository"] for row in database.manifests("test")} == {"good"}
    assert scene.counters()["note_digest_missing"] == 3
    scene.balanced()


def test_odd_statuses_are_no_pulls(keep, database):
    scene = Scene(keep, database)
    for status in (201, 202, 204, 206, 301, 307, 400, 401, 403, 404, 405, 416, 429, 500, 503, 599):
        assert scene.server.send(f"/v2/a/manifests/t?status={status}")[0] == status
    for method in ("POST", "PATCH", "OPTIONS", "BREW"):
        assert scene.server.send("/v2/a/manifests/t", method)[0] == 200
    scene.finish()
    assert database.tags("test") == [] and database.manifests("test") == []
    counters = scene.counters()
    assert {name[9:]: count for name, count in counters.items()
            if name.startswith("filtered_") and name != "filtered_stack_growth"} == {
        "status_2xx": 3, "status_206": 1, "status_3xx": 2, "status_401": 1, "status_404": 1,
        "status_429": 1, "status_4xx": 4, "status_5xx": 3, "method": 4}
    scene.balanced()


# What operators meet.


class Watched:
    """docker-registry with one image."""

    def __init__(self, keep):
        self.registry = keep(Registry()).start()
        self.digest = self.registry.push(Image("one"), "a", "t")
        self.since = self.registry.mark()

    def pull(self, times):
        load.curl(self.registry, [load.ask("GET", "/v2/a/manifests/t")] * times)
        self.registry.settle()

    def check(self, database):
        truth = Truth({("a", "t"): self.digest}).feed(self.registry.requests(self.since))
        books.check(database, truth)
        return truth


def test_methods_of_any_length_switch_nothing_off(keep, database):
    """Whoever may connect chooses the method: it must never look like a wrong layout."""
    registry = keep(Registry()).start()
    agent = keep(Agent(database.conninfo(), registry.binary)).start()
    for length in (1, 7, 33, 400, 4000) * 8:
        with socket.create_connection(("127.0.0.1", registry.port)) as connection:
            connection.sendall(b"M" * length + b" /v2/a/manifests/t HTTP/1.1\r\nHost: a\r\n"
                               b"Connection: close\r\n\r\n")
            while connection.recv(65536):
                pass
    registry.settle()
    agent.stop()
    assert books.counter(database, "filtered_method") == 40
    books.check(database, Truth({}), hits=40)


def test_a_database_that_is_down_at_start_gets_everything_later(keep):
    watched = Watched(keep)
    postgres = keep(Postgres()).start()
    migrate(postgres)
    postgres.stop()
    agent = keep(Agent(postgres.conninfo(), watched.registry.pid)).start()
    for _ in range(3):
        watched.pull(20)
        watched.registry.settle(1.2)  # a window passes
    assert agent.process.running()
    postgres.start()
    until(lambda: postgres.value("select coalesce(sum(pulls), 0) as sum from pulltap.tags") == 60,
          30, every=0.2, what="the counts arrive by themselves")
    agent.stop()
    assert watched.check(postgres).pulls == 60


def test_a_database_that_goes_away_gets_everything_later(keep, database):
    watched = Watched(keep)
    agent = keep(Agent(database.conninfo(), watched.registry.pid)).start()
    watched.pull(20)
    database.stop()
    watched.pull(20)
    watched.registry.settle(1.5)
    watched.pull(20)
    agent.pause()  # must not wait for ever for a database that is not there
    database.start()
    agent.start()
    watched.pull(20)
    agent.stop()
    assert watched.check(database).pulls == 80


def test_a_schema_that_is_missing_is_named(keep, postgres):
    watched = Watched(keep)
    agent = keep(Agent(postgres.conninfo(), watched.registry.pid)).start()
    watched.pull(10)
    until(lambda: "migrate" in agent.log(), 20, what=lambda: "it says to migrate\n" + agent.log())
    assert agent.process.running()
    migrate(postgres)
    until(lambda: postgres.value("select coalesce(sum(pulls), 0) as sum from pulltap.tags") == 10,
          60, every=0.2, what="the counts arrive once the schema is there")
    agent.stop()
    watched.check(postgres)


def test_a_wrong_password_is_named_and_costs_nothing(keep):
    watched = Watched(keep)
    postgres = keep(Postgres())
    postgres.hba("local all node_agent scram-sha-256")
    postgres.start()
    migrate(postgres)
    postgres.execute("create role node_agent login password 'right' in role pulltap_agent")
    agent = keep(Agent(postgres.conninfo(user="node_agent", password="wrong"),
                       watched.registry.pid)).start()
    watched.pull(10)
    until(lambda: "password authentication failed" in agent.log(), 20,
          what=lambda: "it names the reason\n" + agent.log())
    assert "wrong" not in re.sub(r"wrong-?\s?password", "", agent.log()), "the password is logged"
    assert agent.process.running()
    postgres.execute("alter role node_agent password 'wrong'")
    # every attempt in between was refused: the next one is due within a minute
    until(lambda: postgres.value("select coalesce(sum(pulls), 0) as sum from pulltap.tags") == 10,
          90, every=0.2, what=lambda: "the counts arrive\n" + agent.log())
    agent.stop()
    watched.check(postgres)


def fill(path):
    """Writes until the disk is full."""
    file = os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        while True:
            os.write(file, b"x" * 4096)
    except OSError as error:
        assert error.errno == errno.ENOSPC
    finally:
        os.close(file)


def test_a_full_spool_keeps_counts_in_the_kernel(keep, database):
    watched = Watched(keep)
    agent = keep(Agent(database.conninfo(), watched.registry.pid))
    run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", agent.state])
    try:
        agent.start()
        watched.pull(5)
        filler = os.path.join(agent.state, "filler")
        pulled, fillers = 5, []

        def says_so():
            return re.search(r"level=(warn|error).*[Nn]o space left", agent.log())

        # a window that was shipped, or a status file that was replaced, gives a page back
        while not says_so() and len(fillers) < 20:
            fillers.append(f"{filler}-{len(fillers)}")
            fill(fillers[-1])
            watched.pull(20)
            pulled += 20
            time.sleep(1.2)
        assert says_so(), agent.log()
        watched.pull(20)
        assert agent.process.running()
        for one in fillers:
            os.unlink(one)
        watched.pull(20)
        agent.stop()
        assert watched.check(database).pulls == pulled + 40
    finally:
        agent.close()


def test_a_full_spool_at_the_end_leaves_counts_for_the_next_agent(keep, database):
    watched = Watched(keep)
    agent = keep(Agent(database.conninfo(), watched.registry.pid))
    run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", agent.state])
    try:
        agent.start()
        filler = os.path.join(agent.state, "filler")
        fill(filler)
        watched.pull(20)
        agent.process.stop(2, 60)  # SIGINT; the status may tell of the failure
        assert agent.pinned(), "what could not be written must stay in the kernel"
        os.unlink(filler)
        agent.start()
        agent.stop()
        assert watched.check(database).pulls == 20
    finally:
        agent.close()


def test_without_root_it_says_so():
    with Folder() as folder:
        binary = shutil.copy(BINARY, folder / "pulltap")
        state = folder.make("state")
        os.chmod(state, 0o777)
        done = run(["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "--",
                    binary, "run", "--state-dir", state, "--no-discover",
                    "--bpffs", "/sys/fs/bpf/pulltap-nobody", "--database", "host=/nonexistent"],
                   check=False, timeout=30)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert re.search(r"\broot\b|CAP_(BPF|SYS_ADMIN|PERFMON)|privilege", said), said
    left = os.path.exists("/sys/fs/bpf/pulltap-nobody")
    shutil.rmtree("/sys/fs/bpf/pulltap-nobody", ignore_errors=True)
    assert not left, "a folder stays behind"
    assert len(said.splitlines()) <= 6, said


def test_a_second_agent_is_refused_and_names_the_first(keep, database):
    watched = Watched(keep)
    first = keep(Agent(database.conninfo(), watched.registry.pid)).start()
    watched.pull(5)
    second = run([BINARY, "run", *first.arguments], check=False, timeout=30)
    assert second.returncode != 0
    assert re.search(rf"\b{first.pid}\b", second.stderr), second.stderr
    # the same pins with another state folder are refused as well
    with Folder() as folder:
        arguments = list(first.arguments)
        arguments[arguments.index("--state-dir") + 1] = folder.make("state")
        third = run([BINARY, "run", *arguments], check=False, timeout=30)
    assert third.returncode != 0
    assert re.search(rf"\b{first.pid}\b", third.stderr), third.stderr
    watched.pull(5)
    first.stop()
    assert watched.check(database).pulls == 10


@pytest.mark.parametrize("arguments,words", [
    (["run", "--window", "0"], "window"),
    (["run", "--window", "ten"], "window"),
    (["run", "--nonsense"], "nonsense"),
    (["run", "--target", "nothing"], "target"),
    (["nonsense"], "nonsense"),
    (["ls", "--output", "xml"], "output"),
])
def test_wrong_options_are_named(folder, arguments, words):
    if arguments[0] == "run":  # should it start all the same, then where it does no harm
        arguments = [*arguments, "--no-discover", "--state-dir", folder / "state",
                     "--bpffs", folder / "bpffs"]
    done = pulltap(*arguments, check=False, timeout=20)
    assert done.returncode != 0
    assert words in done.stderr, done.stderr
    assert "time=" not in done.stderr.splitlines()[0] or len(done.stderr.splitlines()) < 5


def test_a_conninfo_that_is_none_is_refused_at_once():
    with Agent("no = = conninfo", wait_ready=False) as agent:
        until(lambda: not agent.process.running(), 5, what=lambda: "it ends\n" + agent.log())
        assert agent.process.returncode != 0
        assert "database" in agent.log()


def test_a_target_that_does_not_exist_is_named(keep, database):
    agent = keep(Agent(database.conninfo(), target="/nonexistent/registry", wait_ready=False))
    agent.start()
    until(lambda: "/nonexistent/registry" in agent.log() or not agent.process.running(), 20,
          what="it names the target")
    assert "/nonexistent/registry" in agent.log()


def test_a_target_that_is_no_go_server_is_named(keep, database):
    sleeper = keep(_Sleeper())
    agent = keep(Agent(database.conninfo(), target=sleeper.process.pid, wait_ready=False))
    agent.start()
    until(lambda: agent.events("target can't be observed"), 20,
          what=lambda: "it says why\n" + agent.log())
    event = agent.events("target can't be observed")[0]
    assert event["reason"] and event["pid"] == str(sleeper.process.pid)


class _Sleeper:
    def __init__(self):
        self.process = subprocess.Popen(["/usr/bin/sleep", "600"])

    def close(self):
        self.process.kill()
        self.process.wait()
