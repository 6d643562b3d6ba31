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
