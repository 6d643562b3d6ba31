# SPDX-License-Identifier: MIT
"""
What servers that speak TLS in front of a registry, or in place of one, have in common: a copy of the
binary, so that only this test's processes are a target, a folder, a port, a certificate, and a log
with one line per request.
"""
import os
import shutil
import signal
import socket
import ssl
from collections import namedtuple

from .proc import Failed, Folder, Process, at_rest, free_port, listening, until
from .registry import make_certificate

Request = namedtuple("Request", "remote method uri status digest proto")


def trusting(server, alpn=None, versions=None):
    """A client's side of TLS for a server with a ca; versions: (least, most)."""
    made = ssl.create_default_context(cafile=server.ca)
    if alpn:
        made.set_alpn_protocols(alpn)
    if versions:
        made.minimum_version, made.maximum_version = versions
    return made


def dial(server, context=None, session=None):
    """A connection of one's own, after the handshake: each sendall() is a record or more."""
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return (context or trusting(server)).wrap_socket(plain, server_hostname="127.0.0.1",
                                                     session=session)


class TlsFront:
    """
    A subclass has name, writes its configuration in configure(), says how it is started in argv()
    and reads a line of its log (bytes) in parse(), which may return None for a line of another kind.
    """

    name = None
    stop_signal = signal.SIGTERM
    tls = True

    def __init__(self, installed):
        if not installed:
            raise Failed(f"{self.name} is not installed")
        self.folder = Folder(f"pulltap-{self.name}-")
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"https://{self.host}"
        self.log_path = self.folder.write("access.log", "")
        self.error_path = self.folder / "error.log"
        self.ca, self.certificate, self.key = make_certificate(self.folder)
        self.binary = self.folder / self.name
        shutil.copy(installed, self.binary)
        os.chmod(self.binary, 0o755)
        self.process = None

    @property
    def pid(self):
        return self.process.pid

    def environment(self):
        return None

    def start(self):
        self.configure()
        self.process = Process(self.argv(), stdout=self.error_path, stderr=self.error_path,
                               env=self.environment())

        def up():
            if not self.process.running():
                raise Failed(f"{self.name} ended at once:\n{self.errors()}")
            return listening(self.port)

        until(up, 20, what=f"{self.name} listens")
        self.settle()
        return self

    def errors(self):
        with open(self.error_path, errors="replace") as file:
            return file.read()[-4000:]

    def settle(self, quiet=0.3, timeout=30):
        return at_rest(self.log_path, f"{self.name}'s log", quiet, timeout)

    def mark(self):
        return self.settle()

    def requests(self, since=0):
        """Every request that was answered since the mark, in the log's order."""
        with open(self.log_path, "rb") as log:
            log.seek(since)
            found = [self.parse(line) for line in log.read().splitlines()]
        return [request for request in found if request]

    def stop(self):
        self.settle()
        self.process.stop(self.stop_signal, 30)
        self.process = None

    def close(self):
        if self.process:
            self.process.close()
            self.process = None
        self.folder.close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()
