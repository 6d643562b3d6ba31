# SPDX-License-Identifier: MIT
"""The Go server that accepts every name (tests/e2e/servers/permissive) and its log."""
import http.client
import json
import os
import socket
from urllib.parse import unquote_to_bytes

from .proc import REPOSITORY_ROOT, Folder, Process, clean_environment, find_program, run, until
from .registry import Request

SOURCE = os.path.join(REPOSITORY_ROOT, "tests", "e2e", "servers", "permissive", "main.go")


def build_go(source, binary):
    """Compiles one Go file with the system's Go; nothing is fetched."""
    cache = os.path.join(REPOSITORY_ROOT, "build", "cache", "go")
    os.makedirs(cache, exist_ok=True)
    run([find_program("go"), "build", "-o", binary, source], timeout=300,
        env=clean_environment(GOCACHE=cache, GOPATH=cache + "/path", GO111MODULE="off",
                              GOFLAGS="-buildvcs=false", CGO_ENABLED="0", GOTOOLCHAIN="local"))
    return binary


class Permissive:
    def __init__(self, log=True):
        self.folder = Folder("pulltap-permissive-")
        self.binary = build_go(SOURCE, self.folder / "permissive")
        self.log_path = self.folder / "log.json" if log else None
        self.process = None
        self.port = None

    def start(self):
        more = ["-log", self.log_path] if self.log_path else []
        self.process = Process([self.binary, *more], stdout=self.folder / "address",
                               stderr=self.folder / "errors")

        def address():
            with open(self.folder / "address") as file:
                return file.read().strip()

        self.port = int(until(address, 10, what="the permissive server listens").split(":")[1])
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    @property
    def pid(self):
        return self.process.pid

    def send(self, target, method="GET"):
        """
        Sends one request whose target is exactly these bytes and reads the reply: (status,
        headers). Connections are not reused: a target may end the server's patience.
        """
        if isinstance(target, str):
            target = target.encode("utf-8", "surrogateescape")
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(method.encode() + b" " + target + b" HTTP/1.1\r\nHost: test\r\n"
                               b"Connection: close\r\n\r\n")
            reply = http.client.HTTPResponse(connection, method=method)
            old, http.client._MAXHEADERS = http.client._MAXHEADERS, 10000
            try:
                reply.begin()
                reply.read()
            finally:
                http.client._MAXHEADERS = old
        return reply.status, reply.headers

    def requests(self):
        """The log as Requests (uri percent-encoded, every byte kept), each with its digest."""
        found = []
        with open(self.log_path) as log:
            for text in log:
                one = json.loads(text)
                found.append((Request(one["remote"], one["method"], one["uri"], one["status"],
                                      one["proto"], ""), one["digest"]))
        return found

    def close(self):
        if self.process:
            self.process.close()
            self.process = None
        self.folder.close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()


def name_of(uri):
    """(repository, reference) of a manifest's URI as bytes, or None; plain and strict."""
    path = unquote_to_bytes(uri.split("?", 1)[0])
    at = path.find(b"/v2/")
    if at < 0:
        return None
    name, middle, reference = path[at + 4:].rpartition(b"/manifests/")
    if not (name and middle and reference) or b"/" in reference:
        return None
    return name, reference
