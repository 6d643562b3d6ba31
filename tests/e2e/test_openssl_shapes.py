# SPDX-License-Identifier: MIT
"""
What clients send to servers over TLS besides polite requests: heads in pieces, many requests in one
write, bodies of every kind, heads that are none, bodies that hide requests.
"""
import collections
import random
import time

import pytest

from lib.talker import CLOSE, manifest, request
from lib.tls_scene import FULL, every_server

pytestmark = pytest.mark.needs_pulltap


@every_server
def test_heads_in_pieces_are_as_in_the_log(scene, figure, name):
    """Cut at every byte, each piece a record; every byte a record; and with pauses."""
    made = scene(name)
    head = manifest("shape/split")
    with made.talk() as client:
        for cut in range(1, len(head), 1 if FULL else 3):
            client.send(head[:cut], head[cut:])
            assert client.reply() == 200
    head = manifest("shape/bytes")
    with made.talk() as client:
        client.send(*(head[at:at + 1] for at in range(len(head))))
        assert client.reply() == 200
    head = manifest("shape/paused")
    for cut in (1, 4, 10, len(head) - 3, len(head) - 1):
        with made.talk() as client:
            assert client.send(head[:cut], head[cut:], pause=0.05).reply() == 200
    logged, truth = made.check(figure, "heads in pieces")
    assert truth.tags["shape/split", "t"].pulls > 40


def medley(made, rng, number):
    """Requests of all kinds, and the method of each."""
    kinds = [("GET", manifest("shape/pipelined")),
             ("HEAD", manifest("shape/pipelined", method="HEAD")),
             ("GET", manifest("shape/pipelined", reference=made.image.digest)),
             ("GET", manifest("shape/pipelined", reference="absent")),
             ("HEAD", manifest("shape/pipelined", reference="absent", method="HEAD")),
             ("GET", manifest("shape/pipelined", f'If-None-Match: "{made.image.digest}"')),
             ("GET", request("GET", "/v2/")), ("GET", request("GET", made.blob)),
             ("POST", manifest("shape/pipelined", method="POST", body=manifest("shape/wrong"))),
             ("HEAD", request("HEAD", made.blob))]
    return [kinds[rng.randrange(len(kinds))] for _ in range(number)]


@every_server
def test_pipelined_requests_are_as_in_the_log(scene, figure, name):
    """2, 5 and 20 in one write, the replies read at once, slowly, or cut off somewhere."""
    made = scene(name)
    rng = random.Random(1)
    for number in (2, 2, 2, 5, 5, 5, 20, 20, 20):
        asks = medley(made, rng, number)
        with made.talk() as client:
            client.send(b"".join(data for _, data in asks))
            for method, _ in asks:
                client.final(method)
    for _ in range(5):  # in records that begin and end anywhere
        asks = medley(made, rng, 12)
        data = b"".join(data for _, data in asks)
        with made.talk() as client:
            while data:
                size = rng.randrange(1, 200)
                client.send(data[:size])
                data = data[size:]
            for method, _ in asks:
                client.final(method)
    logged, truth = made.check(figure, "pipelined")
    assert truth.tags["shape/pipelined", "t"].pulls > 10
    assert ("shape/wrong", "t") not in truth.tags


@every_server
def test_a_slow_reader_of_pipelined_replies_is_as_in_the_log(scene, figure, name):
    """The server's writes stop in the middle and are made again, heads among them."""
    made = scene(name)
    for _ in range(3):
        with made.talk() as client:
            ask = manifest("shape/slow")
            client.send((request("GET", made.blob) + ask * 3) * 3 + manifest("shape/slow", CLOSE))
            time.sleep(0.3)
            client.rest(pause=0.0005, size=20000)
    logged, truth = made.check(figure, "slow readers")
    assert truth.tags["shape/slow", "t"].pulls == 30


def converse(made, *asks):
    """Pieces and then the reply of each; on another connection after one that the server ends."""
    client = None
    for method, *pieces in asks:
        if not client or client.closed:
            if not pieces:
                break  # it was in the same write as the one before
            client = made.talk()
        client.send(*pieces).final(method)
        if client.closed:
            client.close()
    client.close()


@every_server
def test_bodies_of_requests_are_nobodys_heads(scene, figure, name):
    """Content-Length, chunks and Expect: 100-continue, full of requests and cut anywhere."""
    made = scene(name)
    false = manifest("shape/wrong") * 3
    put = dict(method="PUT", reference="new")
    for size in (1, 100, 1000, 100000):
        cuts = [false[at:at + size] for at in range(0, len(false), size)]
        head = manifest("shape/bodies", **put, body=false)[:-len(false)]
        converse(made, ("PUT", head, false), ("PUT", head, *cuts),
                 ("GET", manifest("shape/bodies")))
        head = manifest("shape/chunked", "Transfer-Encoding: chunked", **put)
        chunks = [b"%x\r\n" % len(cut) + cut + b"\r\n" for cut in cuts] + [b"0\r\n\r\n"]
        converse(made, ("PUT", head, *chunks), ("GET", manifest("shape/chunked")),
                 ("PUT", head + b"".join(chunks) + manifest("shape/chunked")), ("GET",))
        head = manifest("shape/expect", "Expect: 100-continue", **put, body=false)[:-len(false)]
        with made.talk() as client:
            assert client.send(head).reply() == 100
            client.send(false, manifest("shape/expect"))
            client.final("PUT")
            client.closed or client.final()
    logged, truth = made.check(figure, "bodies of requests")
    assert ("shape/wrong", "t") not in truth.tags
    assert truth.tags["shape/bodies", "t"].pulls >= 4 <= truth.tags["shape/chunked", "t"].pulls


@pytest.mark.parametrize("together", [False, True] if FULL else [True])
def test_bodies_of_replies_are_nobodys_heads(scene, figure, together):
    """By length, in chunks, until the end, after an interim reply, none at all."""
    made = scene("python3", shared=False, together=together)
    blob = request("GET", made.blob)
    for way in ("length", "chunked", "close"):
        for early in ([], ["X-Early: 1"]):
            lines = [f"X-Body: {way}", *early]
            for ask, method in ((manifest("shape/bodies", *lines), "GET"),
                                (request("GET", made.blob, *lines), "GET"),
                                (manifest("shape/bodies", *lines, method="HEAD"), "HEAD"),
                                (manifest("shape/bodies", f'If-None-Match: "{made.image.digest}"',
                                          *lines), "GET")):
                with made.talk() as client:
                    for _ in range(3):
                        client.send(ask)
                        client.final(method)
                        if way == "close":
                            break
                        client.send(blob + manifest("shape/plain"))
                        assert client.final() == client.final() == 200
    with made.talk() as client:
        client.send(request("GET", "/switch"))
        assert client.final() == 101
        echoed = manifest("shape/wrong") + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        for _ in range(5):
            client.send(echoed)
        got = client.settle(0.5)
        assert got == echoed * 5
    logged, truth = made.check(figure, "bodies of replies")
    assert truth.tags["shape/bodies", "t"].pulls and truth.tags["shape/plain", "t"].pulls
    assert ("shape/wrong", "t") not in truth.tags
    assert collections.Counter(r.status for r in logged)[101] == 1


def wrong_heads():
    """Not what HTTP/1.1 asks for, or more than anybody sends."""
    tail = manifest("shape/wrong", CLOSE).split(b"HTTP/1.1", 1)[1]
    get = b"GET /v2/shape/wrong/manifests/t"
    return [
        get + b" HTTP/1.1" + tail.replace(b"\r\n", b"\n"), get + b"\r\n", get + b"\n\n",
        get + b" HTTP/1.0" + tail, get + b" HTTP/1.9" + tail, get + b" HTTP/3.0" + tail,
        get + b"  HTTP/1.1" + tail, get + b" HTTP/1.1 " + tail, get + b"\tHTTP/1.1" + tail,
        b"\r\n\r\n" + get + b" HTTP/1.1" + tail, b" " + get + b" HTTP/1.1" + tail,
        get.lower() + b" HTTP/1.1" + tail, b"A" * 7 + get[3:] + b" HTTP/1.1" + tail,
        b"_" * 4000 + get[3:] + b" HTTP/1.1" + tail,
        get + b"/" * 7000 + b" HTTP/1.1" + tail, get + b"x" * 70000 + b" HTTP/1.1" + tail,
        get + b"%00 HTTP/1.1" + tail, get + b"?" + b"q" * 2000 + b" HTTP/1.1" + tail,
        b"GET https://a/v2/shape/wrong/manifests/t HTTP/1.1" + tail,
        b"CONNECT a:443 HTTP/1.1" + tail, b"OPTIONS * HTTP/1.1" + tail,
        get + b" HTTP/1.1\r\nX: " + b"y" * 5000 + tail,
        get + b" HTTP/1.1\r\nX: " + b"y" * 40000 + tail,
        get + b" HTTP/1.1" + b"\r\nX: y" * 90 + tail,
        get + b" HTTP/1.1" + b"\r\nX: y" * 2000 + tail,
        b"\x16\x03\x01\x02\x00\x01\x00" * 20, b"\x00" * 300, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + get + b" HTTP/1.1" + tail]


def smuggling():
    """Where a body ends depends on who reads it: what may be hidden asks for shape/wrong."""
    hidden = manifest("shape/wrong")
    length = b"Content-Length: %d" % len(hidden)
    chunked, nothing = b"Transfer-Encoding: chunked", b"0\r\n\r\n"
    both = b"Content-Length: %d" % (len(nothing) + len(hidden))
    fields = [
        (both + b"\r\n" + chunked, nothing), (chunked + b"\r\n" + both, nothing),
        (b"Content-Length: 0\r\n" + length, b""), (length + b"\r\nContent-Length: 0", b""),
        (length + b"\r\n" + length, b""), (length + b", " + length[16:], b""),
        (b"Transfer-Encoding: xchunked\r\n" + both, nothing),
        (b"Transfer-Encoding : chunked\r\n" + both, nothing),
        (b"Transfer-Encoding:\tchunked\r\n" + both, nothing),
        (b"Transfer-Encoding: identity, chunked", nothing),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n" + both, nothing),
        (b"X: y\n" + both + b"\n" + chunked, nothing),
        (b"Content-Length: +%d" % len(hidden), b""), (b"Content-Length: -1", b""),
        (b"Content-Length: 0x10", b""), (b"Content-Length: 99999999999999999999", b""),
        (b" " + length, b""), (b"content-length:%d" % len(hidden), b""),
        (b"Content-Length:   %d   " % len(hidden), b""), (b"X-Content-" + length, b"")]
    head = manifest("shape/wrong", method="POST")[:-2]
    return [head + field + b"\r\n\r\n" + body + hidden + manifest("shape/plain", CLOSE)
            for field, body in fields]


@every_server
def test_wrong_heads_and_smuggling_miscount_nothing(scene, figure, name):
    made = scene(name, shared=False)
    clients = []
    for shape in wrong_heads() + smuggling():
        clients.append(made.talk())
        try:
            clients[-1].send(shape)
        except OSError:
            pass  # refused before all of it was sent
    # more at once than anybody sends, and than are remembered
    clients.append(made.talk().send(manifest("shape/plain") * 100 + manifest("shape/plain", CLOSE)))
    time.sleep(1)
    for client in clients:
        client.settle(0.01)
        client.close()
    with made.talk() as client:
        assert client.send(manifest("shape/split")).reply() == 200
    made.check(figure, "wrong heads, smuggling", refused=True)
    lost = {row["reason"] for row in made.database.rows("select reason from pulltap.losses")}
    assert {"lost_head_refused", "lost_pipelined"} <= lost, lost
    rows = {(row["repository"], row["tag"]): row["pulls"] for row in made.database.tags("test")}
    assert rows["shape/split", "t"] == 1, "others are counted on"
    assert not made.agent.events("target switched off: its layout is not the expected one")
