# SPDX-License-Identifier: MIT
"""
Python's http.server with its ssl module, in place of a registry: servers/tls_server.py, run by a copy
of the interpreter. It logs what it answers as it sends the head.
"""
import json
import os

from .tls_front import Request, TlsFront
from .images import digest_of
from .proc import REPOSITORY_ROOT, clean_environment

INTERPRETER = "/usr/bin/python3"
PROGRAM = os.path.join(REPOSITORY_ROOT, "tests", "e2e", "servers", "tls_server.py")


class TlsServer(TlsFront):
    """
    workers: processes that share the listening socket and, as each is forked, their addresses
    together: head and body in one write, as other servers have it; else each in one of its own
    user: (name, password) that manifests are asked for, or None
    """

    name = "python3"

    def __init__(self, user=None, workers=1, together=False):
        super().__init__(os.path.realpath(INTERPRETER))
        self.user, self.workers = user, workers
        self.store = self.folder.make("store")
        self._tags = {}
        self.together = together

    def push(self, image, repository, *tags):
        """As a Registry's: stores an image under the tags; returns its digest."""
        for digest, data in {**image.blobs, image.digest: image.manifest}.items():
            self.put_blob(data, digest)
        for tag in tags:
            self._tags.setdefault(repository, {})[tag] = image.digest
        self._tags.setdefault(repository, {})[image.digest] = image.digest
        return image.digest

    def put_blob(self, data, digest=None):
        digest = digest or digest_of(data)
        path = os.path.join(self.store, digest)
        if not os.path.exists(path):
            with open(path, "wb") as out:
                out.write(data)
        return digest

    def names(self):
        return {(repository, tag): digest for repository, tags in self._tags.items()
                for tag, digest in tags.items() if ":" not in tag}

    def configure(self):
        self.folder.write("config.json", json.dumps({
            "port": self.port, "certificate": self.certificate, "key": self.key,
            "store": self.store, "tags": self._tags, "log": self.log_path, "user": self.user,
            "workers": self.workers, "together": self.together}))

    def environment(self):
        # the copy is nowhere near its library
        return clean_environment(PYTHONHOME="/usr", PYTHONDONTWRITEBYTECODE="1")

    def argv(self):
        return [self.binary, "-I", PROGRAM, self.folder / "config.json"]

    def addresses(self):
        """Where each process had its SSLs: {pid: {address}}."""
        found = {}
        with open(self.log_path) as log:
            for entry in map(json.loads, log):
                found.setdefault(entry["pid"], set()).add(entry["ssl"])
        return found

    def parse(self, line):
        entry = json.loads(line)
        return Request(entry["remote"], entry["method"], entry["uri"], entry["status"],
                       entry["digest"], entry["proto"])
