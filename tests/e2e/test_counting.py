# SPDX-License-Identifier: MIT
"""
The truth table: what each client asks for in each case, and what that has to count.

EXPECTED is written by hand from the contract (docs/counting.md) and from what the client is known
to do. Each cell is compared with three others: the registry's access log (the requests), the
totals computed from that log by other code, and the rows in PostgreSQL. `make test` runs a
selection, `make test-counting` all clients over HTTP and TLS, open, with htpasswd and with tokens.
"""
import itertools
import os
from collections import namedtuple

import pytest

from lib import books
from lib.agent import Agent
from lib.clients import client
from lib.curl_client import Curl
from lib.images import DOCKER, Image
from lib.proc import Failed
from lib.registry import Registry
from lib.truth import Truth, reference_of
from servers.token_server import TokenServer

pytestmark = pytest.mark.needs_pulltap
HINT_SECONDS = 60
USER = ("me", "secret")
NAMES = ("docker", "containerd", "podman", "skopeo", "buildah", "curl")
PLATFORMS = ("linux/amd64", "linux/arm64")

CASES = {
    "fresh": "fresh pull by tag",
    "again": "again, unchanged",
    "moved": "after the tag moved",
    "digest": "by digest",
    "many": "several platforms, by tag",
    "many-digest": "several platforms, by digest",
    "missing": "missing tag",
}

# Requests for T the tag, D what it names, C the manifest for this platform within an index D; then
# (pulls, checks) of each. A status other than 200 is named.
Cell = namedtuple("Cell", "requests tag manifest child", defaults=((0, 0),) * 3)
PULL, CHECK, BOTH, NOTHING = (1, 0), (0, 1), (1, 1), (0, 0)
BY_NAME = {  # GET by tag each time, whether anything changed or not
    "fresh": Cell("GET T", PULL, PULL),
    "again": Cell("GET T", PULL, PULL),
    "moved": Cell("GET T", PULL, PULL),
    "digest": Cell("GET D", NOTHING, PULL),
    "many": Cell("GET T, GET C", PULL, PULL, PULL),
    "many-digest": Cell("GET D, GET C", NOTHING, PULL, PULL),
    "missing": Cell("GET T 404"),
}
EXPECTED = {
    "docker": {
        "fresh": Cell("HEAD T, GET D", PULL, PULL),
        "again": Cell("HEAD T", CHECK, CHECK),
        "moved": Cell("HEAD T, GET D", PULL, PULL),
        "digest": Cell("GET D", NOTHING, PULL),
        "many": Cell("HEAD T, GET D, GET C", PULL, PULL, PULL),
        "many-digest": Cell("GET D, GET C", NOTHING, PULL, PULL),
        "missing": Cell("HEAD T 404, GET T 404"),
    },
    "containerd": {
        "fresh": Cell("HEAD T, GET D", PULL, PULL),
        "again": Cell("HEAD T", CHECK, CHECK),
        "moved": Cell("HEAD T, GET D", PULL, PULL),
        "digest": Cell("HEAD D, GET D", NOTHING, BOTH),
        "many": Cell("HEAD T, GET D, GET C", PULL, PULL, PULL),
        "many-digest": Cell("HEAD D, GET D, GET C", NOTHING, BOTH, PULL),
        "missing": Cell("HEAD T 404"),
    },
    "podman": BY_NAME,
    "skopeo": BY_NAME,
    # what it has it doesn't ask for, not even whether the tag moved
    "buildah": {**BY_NAME, "again": Cell(""), "moved": Cell("")},
    # with the ETag of what it has
    "curl": {**BY_NAME, "again": Cell("GET T 304", CHECK, NOTHING)},
}

EVERYTHING = os.environ.get("PULLTAP_COUNTING") == "full"
WAYS = list(itertools.product(NAMES, ("http", "tls"), ("open", "htpasswd", "token")))
SELECTED = [("docker", "http", "open"), ("docker", "tls", "token"), ("containerd", "http", "token"),
            ("containerd", "tls", "open"), ("podman", "tls", "htpasswd"),
            ("skopeo", "http", "token"), ("buildah", "tls", "open"), ("curl", "tls", "token")]


def refused(name, auth, cell):
    """
    Manifest requests answered 401: containerd learns from one how to authenticate, once per
    operation: to resolve the name, and to fetch what it resolved with all that belongs to it.
    """
    if name != "containerd" or auth == "open":
        return 0
    return ("HEAD" in cell.requests) + ("GET" in cell.requests)


def written(requests, image):
    """Requests as EXPECTED writes them, and how many were refused."""
    children = [digest for digest, _ in image.children.values()]
    made, refusals = [], 0
    for request in requests:
        reference = reference_of(request.uri)
        if request.status == 401:
            refusals += 1
            continue
        what = "T" if reference.tag else "D" if reference.digest == image.digest else \
            "C" if reference.digest in children else "?"
        made.append(f"{request.method} {what}"
                    + ("" if request.status == 200 else f" {request.status}"))
    return ", ".join(made), refusals


class Stage:
    """
    A repository per case, each with an image of its own, so that no case profits from another's;
    what a case needs to have been pulled before is pulled before the agent watches.
    """

    def __init__(self, keep, database, name, scheme, auth):
        tokens = keep(TokenServer(USER)) if auth == "token" else None
        self.registry = keep(Registry(tls=scheme == "tls", tokens=tokens,
                                      user=USER if auth == "htpasswd" else None)).start()
        self.images = {case: Image(case, PLATFORMS) if case.startswith("many")
                       else Image(case, types=DOCKER) for case in CASES}
        for case, image in self.images.items():
            if case != "missing":
                self.registry.push(image, case + "/app", "v1")
        self.client = keep(Curl().start() if name == "curl" else client(name, self.registry))
        for case in ("again", "moved"):
            self.client.pull(self.registry, case + "/app", "v1")
        self.images["moved"] = Image("moved on", types=DOCKER)
        self.registry.push(self.images["moved"], "moved/app", "v1")
        self.since = self.registry.mark()
        self.agent = keep(Agent(database.conninfo(), self.registry.pid, hint=HINT_SECONDS)).start()

    def pull(self, case):
        name = self.images[case].digest if case.endswith("digest") else "v1"
        try:
            self.client.pull(self.registry, case + "/app", name)
        except Failed:
            if case != "missing":
                raise
        else:
            assert case != "missing", "a tag that is missing was pulled"

    def finish(self):
        self.registry.settle()
        self.agent.stop()
        found = {case: [] for case in CASES}
        requests = self.registry.requests(self.since)
        for request in requests:
            reference = reference_of(request.uri)
            if reference:
                found[reference.repository.split("/")[0]].append(request)
        return requests, found


def stored(rows, case, name, value):
    """(pulls, checks) of a tag or manifest of a case; what has no row was never counted."""
    found = [(row["pulls"], row["checks"]) for row in rows
             if row["repository"] == case + "/app" and row[name] == value]
    assert len(found) <= 1
    return found[0] if found else NOTHING


def relations(database):
    """{(repository, index, child): how often it was seen}."""
    return {(row["repository"], row["index_digest"], row["child_digest"]): row["seen"]
            for row in database.rows("select * from pulltap.manifest_children")}


@pytest.mark.parametrize("name, scheme, auth", WAYS if EVERYTHING else SELECTED)
def test_client_counts_what_the_contract_says(keep, database, table, name, scheme, auth):
    stage = Stage(keep, database, name, scheme, auth)
    for case in CASES:
        stage.pull(case)
    requests, found = stage.finish()
    books.check(database, Truth(stage.registry.names(), hints=True).feed(requests))
    tags, manifests = database.tags("test"), database.manifests("test")
    wrong = []
    for case in CASES:
        cell, image = EXPECTED[name][case], stage.images[case]
        asked, refusals = written(found[case], image)
        child = next((digest for platform, (digest, _) in image.children.items()
                      if platform == PLATFORMS[0]), None)
        got = Cell(asked, stored(tags, case, "tag", "v1"),
                   stored(manifests, case, "digest", image.digest),
                   stored(manifests, case, "digest", child))
        table(name, CASES[case], got, f"{scheme} {auth}")
        if got != cell or refusals != refused(name, auth, cell):
            wrong.append(f"{case}: expected {cell}, {refused(name, auth, cell)} refused; "
                         f"got {got}, {refusals} refused")
    assert not wrong, "\n".join(wrong)
    assert relations(database) == {
        (case + "/app", stage.images[case].digest,
         stage.images[case].children[PLATFORMS[0]][0]): 1 for case in ("many", "many-digest")}
    # nothing but what the cells say: neither a tag nor a manifest more
    assert sum(row["pulls"] + row["checks"] for row in tags) == sum(
        sum(cell.tag) for cell in EXPECTED[name].values())
    assert sum(row["pulls"] + row["checks"] for row in manifests) == sum(
        sum(cell.manifest) + sum(cell.child) for cell in EXPECTED[name].values())
