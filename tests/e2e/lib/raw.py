# SPDX-License-Identifier: MIT
"""Bytes that no client's library would send."""
import socket

from .images import ACCEPT


def raw(server, data, wait=0.5):
    """Sends bytes as they are, reads for a while and leaves."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(data)
        connection.settimeout(wait)
        try:
            while connection.recv(65536):
                pass
        except OSError:
            pass


def frame(kind, flags, stream, payload=b""):
    return (len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") +
            payload)


def header_block(path):
    """Literal fields without an index: HPACK that needs no table."""
    fields = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", path.encode()),
              (b":authority", b"a"), (b"accept", ACCEPT.encode())]
    return b"".join(b"\0" + length(name) + name + length(value) + value
                    for name, value in fields)


def length(text):
    """An HPACK integer with a prefix of seven bits."""
    if len(text) < 127:
        return bytes([len(text)])
    rest, out = len(text) - 127, b"\x7f"
    while rest > 127:
        out += bytes([rest % 128 + 128])
        rest //= 128
    return out + bytes([rest])


def streams(path, number, kept):
    """An HTTP/2 connection's bytes: so many GETs, of which all but the first ones are reset at
    once."""
    block = header_block(path)
    data = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0)
    for stream in range(1, 2 * number, 2):
        data += frame(1, 5, stream, block)
        if stream > 2 * kept:
            data += frame(3, 0, stream, (8).to_bytes(4, "big"))
    return data


def heads():
    """Heads that are malformed, enormous, ambiguous or odd, of requests for v2/a/manifests/t."""
    tail = (b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAccept: " + ACCEPT.encode() +
            b"\r\n\r\n")
    return [b"GET http://a/v2/a/manifests/t" + tail, b"GET http://a?x=/v2/a/manifests/t" + tail,
            b"GET http://a" + tail, b"OPTIONS *" + tail, b"CONNECT a:443" + tail,
            b"A" * 7 + b" /v2/a/manifests/t" + tail, b"_" * 4000 + b" /v2/a/manifests/t" + tail,
            b"GET /" + b"x" * 7000 + tail, b"GET /" + b"x" * 70000 + tail,
            b"GET /v2/" + b"x" * 600 + b"/manifests/t" + tail,
            b"GET /v2/a/manifests/t" + tail.replace(b"Host: a", b"Host: a\r\nX: " + b"y" * 40000),
            b"GET  /v2/a/manifests/t" + tail, b"GET /v2/a/manifests/%00" + tail,
            b"get /v2/a/manifests/t" + tail, b"\x16\x03\x01\x02\x00\x01\x00" * 20,
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\r\n\r\nGET /v2/a/manifests/t" + tail,
            b"GET /v2/a/../a/manifests/t" + tail, b"GET //v2//a//manifests/t" + tail,
            b"GET /v2/a/manifests/t HTTP/1.9\r\nHost: a\r\nConnection: close\r\n\r\n",
            b"GET /v2/a/manifests/t HTTP/3.0" + tail[9:],
            b"PUT", b"PUT /v2/a/manifests/t x" + tail, b"DELETE /v2/a/manifests/t" + tail[:9],
            b"DELETE\t/v2/a/manifests/t" + tail, b" GET /v2/a/manifests/t" + tail,
            b"GET /v2/a/manifests/t" + tail.replace(b"Host: a\r\n", b""),
            b"POST /v2/a/manifests/t HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v2/a/manifests/t" + tail]
