# SPDX-License-Identifier: MIT
"""
A client that says when which bytes of HTTP/1.x go out, each piece in a TLS record of its own, and
reads the replies one by one or leaves in the middle of them.
"""
import base64
import socket
import struct
import time

from .frontends import USER
from .images import OCI
from .tls_front import dial

_PASSWORD = base64.b64encode(":".join(USER).encode()).decode()
CLOSE = "Connection: close"


def request(method, path, *lines, version="1.1", body=b""):
    """The bytes of a request with a password; body adds its length unless lines say how it ends."""
    if body and not any(line.startswith("Transfer-Encoding") for line in lines):
        lines = (*lines, f"Content-Length: {len(body)}")
    head = "\r\n".join([f"{method} {path} HTTP/{version}", "Host: a", f"Accept: {OCI['manifest']}",
                        f"Authorization: Basic {_PASSWORD}", *lines, "", ""])
    return head.encode("utf-8", "surrogateescape") + body


def manifest(repository, *lines, method="GET", reference="t", **more):
    return request(method, f"/v2/{repository}/manifests/{reference}", *lines, **more)


class Talker:
    def __init__(self, server, context=None, session=None):
        self.connection = dial(server, context, session)
        self.closed = False  # the last reply said so
        self._got = b""

    def send(self, *pieces, pause=0):
        for number, piece in enumerate(pieces):
            if number and pause:
                time.sleep(pause)
            self.connection.sendall(piece)
        return self

    def _more(self):
        data = self.connection.recv(1 << 16)
        if not data:
            raise EOFError
        self._got += data

    def _line_end(self, end):
        while end not in self._got:
            self._more()
        taken, self._got = self._got.split(end, 1)
        return taken

    def _take(self, size):
        while size > len(self._got):
            size -= len(self._got)
            self._got = b""
            self._more()
        self._got = self._got[size:]

    def reply(self, method="GET"):
        """Reads a reply to its end; its status."""
        head = self._line_end(b"\r\n\r\n").split(b"\r\n")
        status = int(head[0].split(b" ")[1])
        headers = {name.strip().lower(): value.strip()
                   for name, value in (line.split(b":", 1) for line in head[1:])}
        self.closed = headers.get(b"connection", b"").lower() == b"close"
        if status < 200 or method == "HEAD" or status in (204, 304):
            pass
        elif headers.get(b"transfer-encoding") == b"chunked":
            size = 1
            while size:
                size = int(self._line_end(b"\r\n"), 16)
                self._take(size + 2)
        elif b"content-length" in headers:
            self._take(int(headers[b"content-length"]))
        else:
            self.rest()
        return status

    def final(self, method="GET"):
        """The same, of the first that is not an interim one."""
        while True:
            status = self.reply(method)
            if status >= 200 or status == 101:
                return status

    def rest(self, pause=0, size=1 << 16):
        """Everything until the server closes; reads slowly where pause says so."""
        got, self._got = self._got, b""
        try:
            while True:
                data = self.connection.recv(size)
                if not data:
                    return got
                got += data
                time.sleep(pause)
        except OSError:
            return got

    def settle(self, seconds):
        """What the server says within that time."""
        self.connection.settimeout(seconds)
        return self.rest()

    def vanish(self):
        """Gone at once: the server gets a reset, and no good-bye of TLS."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def close(self):
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
