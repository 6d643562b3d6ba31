# SPDX-License-Identifier: MIT
"""
What happens to connections over TLS: clients that vanish, sessions that are resumed, keys that change,
other protocols, many that are idle, and processes whose memory is alike.
"""
import socket
import ssl
import subprocess
import time

import pytest

from lib import books, load
from lib.agent import pulltap
from lib.frontends import USER
from lib.proc import find_program, until
from lib.talker import CLOSE, Talker, manifest, request
from lib.tls_front import dial, trusting
from lib.tls_scene import FULL, every_server

pytestmark = pytest.mark.needs_pulltap

versions = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


@every_server
def test_clients_that_vanish_are_as_in_the_log(scene, figure, name):
    """Before, in and after the handshake, the head, the reply: politely, and by a reset."""
    made = scene(name)
    for data in (b"", b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET / "):
        with socket.create_connection(("127.0.0.1", made.server.port)) as plain:
            plain.sendall(data)
    head = manifest("shape/gone")
    for leave in (Talker.vanish, Talker.close):
        for cut in (0, 1, 20, len(head) - 1):
            leave(made.talk().send(head[:cut]))
        for _ in range(5):
            client = made.talk()
            assert client.send(head).reply() == 200
            leave(client.send(head[:30]))
            # the head of the blob's reply is read, its body never to the end
            client = made.talk().send(head + request("GET", made.blob) + head)
            assert client.reply() == 200
            client.connection.recv(1000)
            leave(client)
    time.sleep(0.5)
    # addresses are used again
    for _ in range(20):
        with made.talk() as client:
            assert client.send(head).reply() == 200
    made.check(figure, "clients that vanish")


@versions
@every_server
def test_resumed_sessions_and_new_keys_are_as_in_the_log(scene, figure, name, version):
    made = scene(name)
    context = trusting(made.server, versions=(version, version))
    session, resumed = None, 0
    for _ in range(10):
        with made.talk(context=context, session=session) as client:
            assert client.send(manifest("shape/resumed")).reply() == 200
            session = client.connection.session
            resumed += client.connection.session_reused
    assert resumed
    if version == ssl.TLSVersion.TLSv1_3:
        new_keys(made)
    _, truth = made.check(figure, f"{version.name}, sessions resumed")
    if version == ssl.TLSVersion.TLSv1_3:
        assert truth.tags["shape/updated", "t"].pulls == 6


def new_keys(made):
    """openssl's client takes a line that begins with k or K for the order to change its key."""
    client = subprocess.Popen(
        [find_program("openssl"), "s_client", "-connect", made.server.host, "-tls1_3", "-CAfile",
         made.server.ca], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        for order in (b"K\n", b"k\n") * 3:
            for line in (manifest("shape/updated"), order):
                client.stdin.write(line)
                client.stdin.flush()
                time.sleep(0.1)
        client.stdin.close()
        said = client.stdout.read()
    finally:
        client.kill()
        client.wait()
    assert said.count(b"HTTP/1.1 200 OK") == 6


@versions
def test_a_client_that_is_asked_for_its_certificate_is_as_in_the_log(scene, figure, version):
    """With its request read: by another handshake on the same connection, or in TLS 1.3 without."""
    made = scene("apache")
    context = trusting(made.server, versions=(version, version))
    context.post_handshake_auth = True
    before = made.before
    with made.talk(context=context) as client:
        for _ in range(5):
            assert client.send(manifest("shape/plain")).reply() == 200
            assert client.send(manifest("shape/asked")).reply() == 200
    logged, _ = made.check(figure, f"{version.name}, certificate asked for")
    assert len(logged) - before == 10


def test_a_request_before_the_handshake_is_over_is_as_in_the_log(scene, folder, figure):
    """Early data of TLS 1.3, which another function reads."""
    made = scene("nginx", shared=False, early=True)
    ask = folder.write("ask", manifest("shape/early", CLOSE))
    tickets = folder / "session"
    for arguments in (["-sess_out", tickets], ["-sess_in", tickets, "-early_data", ask]):
        client = subprocess.Popen(
            [find_program("openssl"), "s_client", "-connect", made.server.host, "-tls1_3", "-quiet",
             "-CAfile", made.server.ca, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        if "-early_data" not in arguments:
            client.stdin.write(manifest("shape/plain", CLOSE))
            client.stdin.flush()
        assert b"HTTP/1.1 200" in client.stdout.read()
        client.stdin.close()
        client.wait()
    _, truth = made.check(figure, "early data")
    assert truth.tags["shape/early", "t"].pulls == 1


def counts(made):
    """The pulls of each repository's tag."""
    return {row["repository"]: row["pulls"] for row in made.database.tags("test")}


@every_server
def test_connections_older_than_the_probe_are_counted_from_then_on(scene, figure, name):
    """Idle ones; one with blobs on their way and one with a push are, or say that they are not."""
    made = scene(name, shared=False)
    made.agent.stop()
    idle = [made.talk() for _ in range(5)]
    for client in idle:
        assert client.send(manifest("shape/wrong")).reply() == 200
    # more than the kernel takes at once
    busy = made.talk().send(request("GET", made.blob) * 3 + manifest("shape/wrong"))
    body = manifest("shape/wrong") * 20
    pushed = manifest("shape/wrong", method="PUT", reference="new", body=body)
    pushing = made.talk().send(pushed[:-1000])
    time.sleep(0.3)
    made.agent.start()
    assert [busy.reply() for _ in range(4)] == [200] * 4
    pushing.send(pushed[-1000:]).final("PUT")
    for client in idle * 3:
        assert client.send(manifest("shape/idle")).reply() == 200
    others = [client for client in (busy, pushing) if not client.closed] * 3
    for client in others:
        assert client.send(manifest("shape/idle")).reply() == 200
    made.server.settle()
    made.agent.stop()
    counted = counts(made)
    assert set(counted) == {"shape/idle"}, "what was asked before is nobody's count"
    missing = 15 + len(others) - counted["shape/idle"]
    assert missing >= 0
    # a process of apache's waits within SSL_read(), in a call that began before the probe
    unseen = len(idle) if name == "apache" else 0
    missing -= unseen
    assert missing <= len(others)
    lost = made.database.value("select coalesce(sum(count), 0)::int as sum from pulltap.losses")
    assert lost >= missing, books.describe(made.database)
    figure(f"{name}, connections older than the probe", "openssl", "HTTP/1.1 over TLS",
           15 + len(others), f"none too many, {missing} in lost_*, {unseen} unseen")


def test_what_passes_while_counting_is_off_is_not_counted(scene, figure):
    """The switch falls between requests and in the middle of one, on connections that go on."""
    made = scene("python3", shared=False)
    switch = ["--bpffs", made.agent.bpffs]
    clients = [made.talk() for _ in range(4)]
    head = manifest("shape/wrong")
    for _ in range(3):
        for client in clients:
            assert client.send(manifest("shape/idle")).reply() == 200
        clients[0].send(head[:30])
        made.server.settle()
        pulltap("off", *switch)
        for client in clients[1:]:
            assert client.send(manifest("shape/wrong")).reply() == 200
        clients[0].send(head[30:])
        assert clients[0].reply() == 200
        made.server.settle()
        pulltap("on", *switch)
        until(lambda: made.agent.status()["counting"], 10, what="counting is on")
        time.sleep(0.5)
    for client in clients:
        assert client.send(manifest("shape/idle")).reply() == 200
    made.server.settle()
    made.agent.stop()
    assert counts(made) == {"shape/idle": 16}
    books.check_windows(made.database)
    figure("python3, switched off thrice", "openssl", "HTTP/1.1 over TLS", 28, "16 while on: exact")


def test_kept_connections_are_counted_while_no_agent_runs(scene, figure):
    """The programs go on, and the next agent takes over what they know of connections."""
    made = scene("haproxy")
    clients = [made.talk() for _ in range(4)]
    for turn in range(3):
        for client in clients:
            assert client.send(manifest("shape/idle"), manifest("shape/idle")[:50]).reply() == 200
        made.agent.pause()
        for client in clients:
            client.send(manifest("shape/idle")[50:])
            assert client.reply() == 200
            assert client.send(manifest("shape/idle")).reply() == 200
        made.agent.start()
    made.check(figure, "agent came and went thrice")


def doctor(agent):
    return pulltap("doctor", "--state-dir", agent.state, "--bpffs", agent.bpffs, check=False).stdout


@pytest.mark.parametrize("name", ["nginx"] + ["haproxy"] * FULL)
def test_http2_is_counted_as_unparsed_and_nothing_else(scene, figure, name):
    made = scene(name, shared=False, http2=True)
    load.curl(made.server, [load.ask("GET", "/v2/shape/plain/manifests/t", USER)] * 50, http2=True)
    load.curl(made.server, [load.ask("GET", "/v2/shape/split/manifests/t", USER)] * 20)
    made.server.settle()
    until(lambda: "HTTP/2" in doctor(made.agent), 10, every=0.2,
          what=lambda: f"doctor knows of HTTP/2\n{doctor(made.agent)}")
    made.agent.stop()
    logged = made.server.requests()
    assert {r.proto for r in logged} == {"HTTP/2.0", "HTTP/1.1"}
    rows = made.database.tags("test")
    assert [(row["repository"], row["pulls"]) for row in rows] == [("shape/split", 20)]
    assert books.counter(made.database, "lost_h2_unparsed") > 0
    figure(f"{name}, HTTP/2", "openssl", "HTTP/2 over TLS", 50, "none counted, lost_h2_unparsed")


@every_server
def test_idle_connections_cost_nobody_a_count(scene, figure, name):
    made = scene(name)
    number = 30 if name == "apache" else 300  # a process each
    idle = [dial(made.server, trusting(made.server)) for _ in range(number)]
    with made.talk() as client:
        for _ in range(20):
            assert client.send(manifest("shape/idle")).reply() == 200
    for connection in idle[::2]:
        connection.sendall(manifest("shape/idle"))
        assert connection.recv(1000)
    for connection in idle:
        connection.close()
    made.check(figure, f"{number} idle connections")


def test_processes_with_the_same_addresses_are_told_apart(scene, figure):
    """Forked, not executed: their heaps are alike."""
    made = scene("python3", shared=False, workers=4)
    clients = [made.talk() for _ in range(40)]
    for client in clients:  # a reply of each waits while the others ask
        client.send(manifest("shape/plain"), b"GET ")
    for client in clients:
        assert client.reply() == 200
        client.send(manifest("shape/split")[4:])
    for client in clients:
        assert client.reply() == 200
        client.close()
    addresses = made.server.addresses()
    shared = set.intersection(*addresses.values()) if len(addresses) > 1 else set()
    assert len(addresses) > 1 and shared, addresses
    made.check(figure, f"{len(addresses)} processes, {len(shared)} addresses shared")
