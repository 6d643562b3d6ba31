# SPDX-License-Identifier: MIT
"""Real Go servers of every version and way of building, every protocol they speak: what the
database holds in the end is what the client got, reply for reply."""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import secrets

import pytest

import watching
from watching import H2C, HTTP1, HTTP2, Ask, Totals, Watch, curl, go_servers, logged, until

SHA256 = "sha256:" + "5" * 64
SERVERS = list(go_servers.servers())


@pytest.fixture(scope="module")
def folder():
    with watching.Folder("pulltap-matrix-") as folder:
        yield folder


@pytest.fixture(scope="module")
def copies(folder):
    """Every server as a file of its own; those that are missing stay out."""
    go_servers.fetch()
    found = {}
    for server in SERVERS:
        if server.missing():
            continue
        place = watching.Folder(f"pulltap-{server.name}-")
        found[server.name] = (place, dataclasses.replace(
            server, path=watching.private_copy(server.path, place)))
    yield {name: server for name, (_, server) in found.items()}
    for place, _ in found.values():
        place.close()


@pytest.fixture(scope="module")
def headers_server(folder):
    built = watching.build_headers_server()
    return built and watching.private_copy(built, folder)


@pytest.fixture(scope="module")
def watch(copies, headers_server):
    targets = [(name, server.path) for name, server in copies.items()]
    if headers_server:
        targets.append(("headers", headers_server))
    watch = Watch(targets)
    yield watch
    watch.close()


def need(copies, name):
    if name not in copies:
        watching.missing(next(s for s in SERVERS if s.name == name).missing())
    return copies[name]


class Session:
    """A started server that is probed, the counters before, and what was asked since."""

    def __init__(self, watch, server, running):
        self.watch, self.server, self.running = watch, server, running
        watch.wait_attached(server.name)
        self.before = watch.settled()
        self.hits_before = watch.hits(server.name)
        self.stored_before = watch.totals(server.name)
        self.truth = Totals()
        self.finished = 0
        running.access_log and running.access_log.write_text("")

    def ask(self, asks, protocol=HTTP1, parallel=1):
        got = curl(self.running, asks, protocol, parallel)
        self.truth.add(got)
        self.finished += sum(1 for one in got if one.status)
        return got

    def ended(self, unfinished=0):
        """Compares everything. unfinished: replies that curl got from no finished handler.
        Returns the counters that rose."""
        self.watch.wait_hits(self.hits_before + self.finished - unfinished, self.server.name)
        after = self.watch.settled()
        rose = {name: after[name] - self.before[name]
                for name in after if after[name] != self.before[name]}
        self.watch.check_books()
        hits = self.watch.hits(self.server.name) - self.hits_before
        assert hits == rose["seen"]
        assert hits - rose.get("filtered_stack_growth", 0) == self.finished - unfinished, rose
        assert difference(self.watch.totals(self.server.name), self.stored_before) == \
            self.truth.frozen()
        if self.running.access_log:
            assert self.truth.frozen() == Totals().add(logged(self.running.log())).frozen()
        return rose


def difference(after, before):
    """What was added to tags and to manifests."""
    return tuple(
        {name: tuple(a - b for a, b in zip(total, old.get(name, (0, 0))))
         for name, total in new.items() if total != old.get(name)}
        for new, old in zip(after, before))


def usual_asks(mode, steered):
    """A mix of what clients send; the answers are the server's."""
    app = f"/v2/{mode}/app"
    asks = [Ask("GET", f"{app}/manifests/v1")] * 3
    asks += [Ask("GET", f"{app}/manifests/v2?ns=docker.io&x=/v2/a/manifests/b")] * 2
    asks += [Ask("HEAD", f"{app}/manifests/v1")] * 2
    asks += [Ask("GET", f"{app}/manifests/{SHA256}")] * 2
    asks += [Ask("GET", f"{app}/manifests/{SHA256.replace(':', '%3A')}")]
    asks += [Ask("HEAD", f"{app}/manifests/{SHA256}")]
    asks += [Ask("GET", f"/v2/{mode}%2Fapp/manifests/v1")]
    asks += [Ask("GET", go_servers.MANIFEST_PATH)] * 2  # this one has a digest from caddy, too
    asks += [Ask("GET", f"{app}/manifests/v1", 'header = "Range: bytes=1-"')]
    asks += [Ask("GET", f"{app}/manifests/v1",
                 'header = "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"')]
    asks += [Ask("GET", f"{app}/manifests/nosuch"), Ask("HEAD", f"{app}/manifests/nosuch")]
    asks += [Ask("GET", path) for path in (
        "/v2/", "/v2/_catalog", f"{app}/tags/list", f"{app}/blobs/{SHA256}", f"{app}/manifests/",
        "/manifests/v1", f"/nothing/{mode}")]
    asks += [Ask("PUT", f"{app}/manifests/v3"), Ask("DELETE", f"{app}/manifests/{SHA256}"),
             Ask("OPTIONS", f"{app}/manifests/v1"), Ask("POST", f"{app}/blobs/uploads/")]
    if steered:
        asks += [Ask("GET", f"{app}/manifests/v1?status={status}")
                 for status in (201, 204, 206, 301, 304, 307, 401, 403, 404, 429, 500, 503)]
        asks += [Ask("HEAD", f"{app}/manifests/v1?status={status}") for status in (304, 401, 404)]
        asks += [Ask("GET", f"{app}/manifests/v4?do={do}") for do in ("nothing", "clear")]
        asks += [Ask("GET", f"/v2/{mode}%2Fclear/manifests/v4?do=clear")]
        asks += [Ask("GET", f"{app}/manifests/v5?do=flush&size=100000"),
                 Ask("GET", f"{app}/manifests/v5?depth=3000"),
                 Ask("GET", f"{app}/manifests/v6?digest=no")]
    return asks


def modes(server):
    """name, TLS, protocol, its number"""
    yield "h1", False, HTTP1, "1.1"
    if server.h2c_supported:
        yield "h2c", False, H2C, "2"
    if server.tls_supported:
        yield "tls1", True, HTTP1, "1.1"
        yield "tls2", True, HTTP2, "2"


@pytest.mark.parametrize("name", [server.name for server in SERVERS])
def test_every_protocol_is_counted_as_the_client_saw_it(watch, copies, name):
    server = need(copies, name)
    for mode, tls, protocol, number in modes(server):
        with server.start(tls=tls) as running:
            for reference in ("v1", "v2", SHA256):
                watching.write_below(running, f"/v2/{mode}/app/manifests/{reference}")
            session = Session(watch, server, running)
            got = session.ask(usual_asks(mode, server.steered), protocol)
            assert {one.version for one in got} == {number}, mode
            assert got[0].status == 200
            assert bool(got[0].digest) == (server.steered)
            rose = session.ended()
            tags, manifests = session.truth.frozen()
            assert tags[f"{mode}/app", "v1"][0] >= 4
            assert manifests[f"{mode}/app", SHA256][0] == 3
            with_digest = sum(1 for one in got if one.status in (200, 201, 304)
                              and re.search("/manifests/[^:/]+$", one.uri.split("?")[0])
                              and one.digest)
            assert (with_digest > 0) == server.digest_supported, mode
            if not server.digest_supported:
                assert rose["note_digest_missing"] == sum(sum(total) for total in tags.values())
            assert "note_digest_unread" not in rose and "note_digest_malformed" not in rose


@pytest.fixture
def own(watch, copies):
    server = need(copies, "goserver-plain")
    with server.start() as running:
        yield Session(watch, server, running)


@pytest.mark.parametrize("tls, protocol", [(False, HTTP1), (True, HTTP2)], ids=["h1", "h2"])
def test_reply_that_no_handler_finished_is_not_counted(watch, copies, tls, protocol):
    server = need(copies, "goserver-plain")
    with server.start(tls=tls) as running:
        session = Session(watch, server, running)
        session.ask([Ask("GET", "/v2/ends/manifests/v1")], protocol)
        lost = [Ask("GET", f"/v2/ends/manifests/v1?do={do}") for do in ("panic", "abort")] * 3
        assert {one.status for one in curl(running, lost, protocol)} == {0}
        # a hijacked connection got its 200 from the handler's own hands
        hijacked = curl(running, [Ask("GET", "/v2/ends/manifests/v1?do=hijack")] * 3, protocol)
        assert {one.status for one in hijacked} == {0 if tls else 200}
        session.ask([Ask("GET", "/v2/ends/manifests/v2")], protocol)
        rose = session.ended()
        assert (rose["counted"], rose["seen"] - rose.get("filtered_stack_growth", 0)) == (2, 2)


@pytest.mark.parametrize("count", [9, 20, 60])
def test_digest_among_many_headers_is_found(own, count):
    own.ask([Ask("GET", f"/v2/many/manifests/h{count}-{i}?headers={count}") for i in range(30)])
    rose = own.ended()
    assert "note_digest_missing" not in rose and "note_digest_unread" not in rose


@pytest.mark.parametrize("count", [200, 3000])
def test_digest_beyond_the_bound_is_unknown_and_the_tag_counts(own, count):
    """bpf/go_header.h looks at 33 groups; where the digest lies among more is Go's hash seed."""
    got = own.ask([Ask("GET", f"/v2/too-many/manifests/h{count}-{i}?headers={count}",
                       "max-time = 60") for i in range(30)])
    assert {one.status for one in got} == {200}
    stored = {row["tag"]: row["digest"] for row in wait_tags(own, f"h{count}-", 30)}
    found = {tag: digest for tag, digest in stored.items() if digest}
    for one in got:
        tag = one.uri.split("?")[0].rsplit("/", 1)[1]
        assert stored[tag] in (None, one.digest)
        if tag not in found:
            own.truth.manifests.pop(("too-many", one.digest))
    own.running = without_log(own.running)
    rose = own.ended()
    assert rose["counted"] == 30
    assert rose.get("note_digest_unread", 0) == 30 - len(found)
    if count == 3000:
        assert len(found) < 15
    else:
        assert len(found) > 15


def without_log(running):
    """The same server for a comparison in which its log has no part: it knows every digest."""
    running.access_log = None
    return running


def wait_tags(session, prefix, count):
    """The tags once each was pulled: their rows are made before their counts are applied."""
    rows = []

    def there():
        rows[:] = [row for row in session.watch.postgres.tags(session.server.name)
                   if row["tag"].startswith(prefix)]
        return sum(row["pulls"] > 0 for row in rows) == count

    until(there, 20, 0.2, what=lambda: f"{count} tags {prefix}*: {rows}")
    return rows


def headers_as_server(path, *arguments):
    if not path:
        watching.missing("no Go to build servers/headers")
    return go_servers.Server("headers", go_servers.go_minor_here(), path,
                             lambda server, port, tls, folder:
                             [str(server.path), "-listen", f"127.0.0.1:{port}", *arguments],
                             digest_supported=True, tls_supported=False)


@pytest.fixture
def odd(watch, headers_server):
    """The server that sends the headers it is asked for."""
    server = headers_as_server(headers_server)
    with server.start() as running:
        yield Session(watch, server, running)


def header(value):
    return "h=Docker-Content-Digest:" + value


@pytest.mark.parametrize("algorithm, digits", [("sha256", 64), ("sha384", 96), ("sha512", 128)])
def test_digest_of_every_algorithm_names_the_manifest(odd, algorithm, digits):
    digest = f"{algorithm}:{'c' * digits}"
    odd.ask([Ask("GET", f"/v2/algorithms/manifests/{algorithm}?{header(digest)}"),
             Ask("GET", f"/v2/algorithms/manifests/{digest}"),
             Ask("HEAD", f"/v2/algorithms/manifests/{digest.replace(':', '%3a')}")])
    rose = odd.ended()
    assert odd.truth.frozen()[1] == {("algorithms", digest): (2, 1)}
    # longer digests than sha256's need the long key
    assert rose.get("note_long_key", 0) == (0 if algorithm == "sha256" else 3)
    tag, = [row for row in odd.watch.postgres.tags("headers") if row["tag"] == algorithm]
    assert tag["digest"] == digest


def test_first_of_two_digest_headers_counts(odd):
    first, second = ("sha256:" + c * 64 for c in "de")
    got = odd.ask([Ask("GET", f"/v2/twice/manifests/v1?{header(first)}&{header(second)}")])
    assert got[0].digest == first
    odd.ended()


MALFORMED = {
    "no-algorithm": "0" * 64, "short": "sha256:abc", "wrong-colon": "sha25:" + "0" * 64,
    "too-long": "sha512:" + "0" * 200, "md5": "md5:" + "0" * 32, "text": "not a digest",
}


def test_malformed_digest_leaves_the_pull_of_the_tag(odd):
    got = odd.ask([Ask("GET", f"/v2/bad/manifests/{name}?{header(value.replace(' ', '+'))}")
                   for name, value in MALFORMED.items()])
    odd.truth = Totals().add(one._replace(digest="") for one in got)
    assert odd.ended()["note_digest_malformed"] == len(MALFORMED)
    assert {row["digest"] for row in odd.watch.postgres.tags("headers")
            if row["repository"] == "bad"} == {None}


def test_empty_digest_header_is_no_digest(odd):
    odd.ask([Ask("GET", f"/v2/empty/manifests/v1?{header('')}")])
    rose = odd.ended()
    assert rose["note_digest_missing"] == 1 and "note_digest_malformed" not in rose


def test_names_at_every_limit_are_counted_and_beyond_it_filtered(own):
    within = [("n" * 512, "v1"), ("limit", "t" * 128), ("m" * 512, "u" * 128),
              ("a/" * 255 + "bc", "v1")]
    beyond = [("n" * 513, "v1"), ("limit", "t" * 129), ("o" * 1000, "v1")]
    # the border between the two sizes of key
    border = [("r" * length, "v1") for length in (62, 63, 64, 65)]
    border += [("border", "t" * length) for length in (30, 31, 32, 33)]
    border += [("r" * 63, "t" * 31), ("r" * 64, "t" * 31), ("r" * 63, "t" * 32)]
    own.ask([Ask("GET", f"/v2/{name}/manifests/{tag}") for name, tag in within + border])
    got = curl(own.running, [Ask("GET", f"/v2/{name}/manifests/{tag}") for name, tag in beyond])
    assert {one.status for one in got} == {200}
    own.finished += len(beyond)
    own.running = without_log(own.running)
    rose = own.ended()
    assert rose["filtered_name_too_long"] == len(beyond)
    assert rose["note_long_key"] == len(within) + sum(
        1 for name, tag in border if len(name) >= 64 or len(tag) >= 32)


def test_name_with_a_nul_is_filtered(own):
    got = curl(own.running, [Ask("GET", "/v2/nul%00l/manifests/v1"),
                             Ask("GET", "/v2/nul/manifests/v1%00"),
                             # a handler that clears the target leaves the decoded path alone
                             Ask("GET", "/v2/nul%00l/manifests/v1?do=clear"),
                             Ask("GET", "/v2/nul/manifests/v1?x=%00")])
    assert {one.status for one in got} == {200}
    own.finished += 4
    own.truth.add(got[3:])
    own.running = without_log(own.running)
    assert own.ended()["filtered_name_nul"] == 3


def test_target_of_64_kib_is_read_as_far_as_its_path_goes(own):
    got = curl(own.running, [Ask("GET", "/v2/" + "a/" * 32768 + "b/manifests/v1")])
    assert got[0].status == 200
    own.finished += 1
    log = len(own.running.log())
    assert log == 1
    own.running.access_log.write_text("")
    own.ask([Ask("GET", "/v2/long-query/manifests/v1?ns=" + "q" * 65536)])
    assert own.ended()["filtered_name_too_long"] == 1


@pytest.mark.parametrize("name", ["goserver-plain", "goserver-race"])
@pytest.mark.parametrize("tls, protocol", [(False, HTTP1), (True, HTTP2)], ids=["h1", "h2"])
def test_64_at_once_with_growing_stacks_are_counted_exactly(watch, copies, name, tls, protocol,
                                                            monkeypatch):
    """Stacks grow in the handler and shrink with each garbage collection, of which there is no
    end."""
    server = need(copies, name)
    monkeypatch.setenv("GOGC", "1")
    count = 2000 if name == "goserver-race" else 6000
    asks = [Ask("GET" if i % 5 else "HEAD",
                f"/v2/busy/app-{i % 7}/manifests/v{i % 31}?depth={i % 11 * 40}&size={i % 3 * 5000}")
            for i in range(count)]
    with server.start(tls=tls) as running:
        session = Session(watch, server, running)
        session.ask(asks, protocol, parallel=64)
        session.ended()
    assert sum(sum(total) for total in session.truth.tags.values()) == count


@contextlib.contextmanager
def slowed_down(path, offset):
    """A trace event on an instruction: the kernel steps over it, which takes microseconds."""
    name = "pulltap_test_" + secrets.token_hex(4)
    with watching.Folder("pulltap-tracing-") as folder:
        watching.run(["mount", "-t", "tracefs", "tracefs", folder.make("fs")])

        def write(file, text):
            fd = os.open(folder / f"fs/{file}", os.O_WRONLY | os.O_APPEND)
            try:
                os.write(fd, text.encode())
            finally:
                os.close(fd)

        write("uprobe_events", f"p:{name} {path}:{offset:#x}\n")
        try:
            write(f"events/uprobes/{name}/enable", "1")
            yield
        finally:
            write(f"events/uprobes/{name}/enable", "0")
            write("uprobe_events", f"-:{name}\n")


def test_function_that_starts_over_is_counted_once(watch, headers_server, monkeypatch):
    """Go restarts a function when it wants to stop its goroutine, and the probe is hit again. To
    make it frequent: the world is stopped without end, and the compare before the probed branch,
    which is where a request to stop is seen, is made to take long."""
    monkeypatch.setenv("GODEBUG", "asyncpreemptoff=1")
    server = headers_as_server(headers_server, "-restless")
    sites = json.loads(watching.run([watching.TOOLS / "inspect", headers_server]).stdout)["sites"]
    branch = next(site["file_offset"] for site in sites if site["hook"] == 1)
    with server.start() as running, slowed_down(headers_server, branch - 4):
        session = Session(watch, server, running)
        for _ in range(20):
            session.ask([Ask("GET", f"/v2/restless/manifests/v{i % 31}?{header(SHA256)}")
                         for i in range(3000)], parallel=64)
            restarts = watch.settled()["filtered_stack_growth"]
            if restarts > session.before["filtered_stack_growth"]:
                break
        rose = session.ended()
    assert rose.get("filtered_stack_growth", 0) > 0
    assert rose["counted"] == session.finished


@pytest.fixture(scope="module")
def own_copy(copies, folder):
    """A file that only the hints' agents watch."""
    server = need(copies, "goserver-plain")
    return dataclasses.replace(server, name="hinted",
                               path=watching.private_copy(server.path, folder))


def digest_of(tag):
    return "sha256:" + hashlib.sha256(tag.encode()).hexdigest()


class Hints:
    """An agent that joins HEADs with GETs, and what it made of a repository."""

    def __init__(self, server, seconds):
        self.watch = Watch([(server.name, server.path)], hint=seconds)
        self.server = server
        self.running = server.start()
        self.watch.wait_attached(server.name)

    def head(self, repository, tag, *options):
        self._one(Ask("HEAD", f"/v2/{repository}/manifests/{tag}", *options))

    def get(self, repository, digest, *options):
        self._one(Ask("GET", f"/v2/{repository}/manifests/{digest}", *options))

    def _one(self, ask):
        assert curl(self.running, [ask])[0].status == 200

    def totals(self, repository):
        """(pulls, checks) of tags and of manifests of one repository."""
        self.watch.settled()
        self.watch.check_books()
        tags, manifests = self.watch.totals("hinted")
        return ({tag: total for (name, tag), total in tags.items() if name == repository},
                {digest: total for (name, digest), total in manifests.items()
                 if name == repository})

    def close(self):
        self.running.stop()
        self.watch.close()


@pytest.fixture(scope="module")
def hints(own_copy):
    hints = Hints(own_copy, 300)
    yield hints
    hints.close()


FROM_ELSEWHERE = 'interface = "127.0.0.2"'


@pytest.mark.parametrize("repository, tag", [
    ("short", "v1"), ("short", "t" * 31), ("tag", "t" * 32), ("tag", "u" * 128),
    ("r" * 63, "v1"), ("r" * 64, "v1"), ("s" * 512, "v" * 128)],
    ids=["short", "tag-31", "tag-32", "tag-128", "repository-63", "repository-64", "longest"])
def test_get_after_head_is_a_pull_of_the_tag(hints, repository, tag):
    digest = digest_of(tag)
    before = hints.totals(repository)
    hints.head(repository, tag)
    hints.get(repository, digest)
    rose = difference(hints.totals(repository), before)
    assert rose == ({tag: (1, 0)}, {digest: (1, 0)})


def test_only_the_first_get_takes_the_hint(hints):
    hints.head("first", "v1")
    for _ in range(3):
        hints.get("first", digest_of("v1"))
    assert hints.totals("first") == ({"v1": (1, 0)}, {digest_of("v1"): (3, 0)})


def test_get_by_another_peer_leaves_the_check(hints):
    hints.head("peer", "v1")
    hints.get("peer", digest_of("v1"), FROM_ELSEWHERE)
    assert hints.totals("peer") == ({"v1": (0, 1)}, {digest_of("v1"): (1, 1)})
    hints.get("peer", digest_of("v1"))  # the one who asked may still come
    assert hints.totals("peer") == ({"v1": (1, 0)}, {digest_of("v1"): (2, 0)})


def test_get_of_another_repository_or_digest_leaves_the_check(hints):
    hints.head("here", "v1")
    hints.get("there", digest_of("v1"))
    hints.get("here", digest_of("v2"))
    assert hints.totals("here") == ({"v1": (0, 1)},
                                    {digest_of("v1"): (0, 1), digest_of("v2"): (1, 0)})
    assert hints.totals("there") == ({}, {digest_of("v1"): (1, 0)})


def test_get_without_head_names_no_tag(hints):
    hints.get("alone", digest_of("v1"))
    assert hints.totals("alone") == ({}, {digest_of("v1"): (1, 0)})


def test_each_peer_has_its_own_hint(hints):
    hints.head("both", "v1")
    hints.head("both", "v1", FROM_ELSEWHERE)
    hints.get("both", digest_of("v1"))
    hints.get("both", digest_of("v1"), FROM_ELSEWHERE)
    assert hints.totals("both") == ({"v1": (2, 0)}, {digest_of("v1"): (2, 0)})


def test_get_after_the_hints_time_leaves_the_check(own_copy):
    hints = Hints(own_copy, 1)
    try:
        hints.head("late", "v1")
        hints.totals("late")
        watching.time.sleep(1.2)
        hints.get("late", digest_of("v1"))
        assert hints.totals("late") == ({"v1": (0, 1)}, {digest_of("v1"): (1, 1)})
    finally:
        hints.close()


def test_matrix_has_every_server():
    """What fetch.sh could not bring is named, not left out."""
    absent = [server.missing() for server in SERVERS if server.missing()]
    if absent:
        watching.missing("; ".join(absent))
    assert os.access(SERVERS[0].path, os.X_OK)
