# SPDX-License-Identifier: MIT
"""
Clients at the same time, each with an address of its own on loopback, asking HEAD and GET in a
random order. Each keeps its own log; the totals that follow from it are worked out per client and
added up, so that it does not matter in which order the server saw different clients.
"""
import http.client
import random
import threading
from collections import Counter, defaultdict

from .images import ACCEPT, Image

AGENTS = {  # as the programs send it
    "docker": "docker/27.5.1 go/go1.22 kernel/6.1 os/linux arch/amd64 "
              "UpstreamClient(Docker-Client/27.5.1 \\(linux\\))" + "x" * 200,
    "containerd": "containerd/1.7.24", "cri-o": "cri-o/1.31.0 go/go1.23 os/linux arch/amd64",
    "podman": "containers/5.34.0 (github.com/containers/image)", "skopeo": "skopeo/1.9.3",
    "buildah": "Buildah/1.28.2", "crane": "crane/v0.20.2 go-containerregistry/v0.20.2",
    "kaniko": "kaniko/v1.23.2 go-containerregistry/v0.19", "helm": "Helm/3.16.4",
    "oras": "oras-go", "curl": "curl/7.88.1", "other": "Python-urllib/3.11",
}


class Stock:
    """Repositories that share digests, and tags of one repository that do."""

    def __init__(self, registry, repositories=4, tags=6, digests=3):
        images = [Image(f"crowd-{number}") for number in range(digests)]
        self.names = {}  # (repository, tag): digest
        for number in range(repositories):
            repository = f"crowd/{number}"
            for tag in range(tags):
                image = images[(tag + number) % digests]
                registry.push(image, repository, f"t{tag}")
                self.names[repository, f"t{tag}"] = image.digest


class Client(threading.Thread):
    """One after the other, from one address; half of them in one connection."""

    def __init__(self, stock, port, number, requests, headers):
        super().__init__()
        self.address = f"127.0.1.{number + 1}"
        self.kind = sorted(AGENTS)[number % len(AGENTS)]
        self.log = []  # (method, repository, tag or None, digest)
        self.failed = None
        self._random = random.Random(number)
        self._names = sorted(stock.names.items())
        self._port, self._requests, self._keeps = port, requests, number % 2
        self._headers = {"Accept": ACCEPT, "User-Agent": AGENTS[self.kind], **headers(self)}

    def run(self):
        try:
            connection = None
            for _ in range(self._requests):
                connection = self._ask(connection)
            if connection:
                connection.close()
        except (OSError, AssertionError, http.client.HTTPException) as error:
            self.failed = error

    def _ask(self, connection):
        (repository, tag), digest = self._random.choice(self._names)
        method, tag = self._random.choice((("HEAD", tag), ("HEAD", tag), ("GET", None),
                                           ("GET", None), ("GET", tag)))
        connection = connection or http.client.HTTPConnection(
            "127.0.0.1", self._port, timeout=60, source_address=(self.address, 0))
        connection.request(method, f"/v2/{repository}/manifests/{tag or digest}",
                           headers=self._headers)
        reply = connection.getresponse()
        reply.read()
        assert reply.status == 200, f"{method} {repository} {tag or digest}: {reply.status}"
        assert reply.headers["Docker-Content-Digest"] == digest
        self.log.append((method, repository, tag, digest))
        if not self._keeps:
            connection.close()
            return None
        return connection


class Totals:
    """(pulls, checks) per name, as the contract has it."""

    def __init__(self):
        self.tags, self.manifests = defaultdict(Counter), defaultdict(Counter)
        self.kinds = defaultdict(Counter)
        self.hinted = self.requests = 0

    def add(self, log, kind):
        heads = {}  # (repository, digest): tag of this client's last HEAD that no GET has followed
        for method, repository, tag, digest in log:
            names = [self.manifests[repository, digest], self.kinds[kind]]
            what = "checks" if method == "HEAD" else "pulls"
            if method == "HEAD":
                heads[repository, digest] = tag
            elif tag is None and (repository, digest) in heads:
                tag = heads.pop((repository, digest))
                self.hinted += 1
                for name in names + [self.tags[repository, tag]]:
                    name["checks"] -= 1
            for name in names + ([self.tags[repository, tag]] if tag else []):
                name[what] += 1
            self.requests += 1


def crowd(stock, port, clients=64, requests=40, headers=lambda client: {}):
    """All of them at once; returns the clients with their logs."""
    made = [Client(stock, port, number, requests, headers) for number in range(clients)]
    for client in made:
        client.start()
    for client in made:
        client.join()
    failed = [client.failed for client in made if client.failed]
    assert not failed, failed[0]
    return made
