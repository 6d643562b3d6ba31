# SPDX-License-Identifier: MIT
"""
What the database must say, computed from the registry's own access log.

The rules are written down again here, on purpose, in the plainest form there is: they share no
code with the program.

  GET by tag, 200            pull of the tag and of the manifest it names
  GET by digest, 200         pull of the manifest
  HEAD 200, or 304           check of the tag (if by tag) and of the manifest; docker-registry's
                             304 names no digest, so by tag it is a check of the tag alone
  HEAD by tag, then a GET of that digest by the same address within the hint's time
                             pull of the tag and of the manifest, instead of the check
  anything else              nothing
"""
import re
from collections import defaultdict, namedtuple
from urllib.parse import unquote_to_bytes

Reference = namedtuple("Reference", "repository tag digest")

_CHECKS = (("HEAD", 200), ("HEAD", 304), ("GET", 304))
_DIGEST = re.compile(r"^[a-z0-9]+(?:[+._-][a-z0-9]+)*:[0-9a-fA-F]{32,}$")


def changes(requests):
    """How many of them make or raise a count: pulls, checks, and what a tag's history is of."""
    return sum((r.method, r.status) in (*_CHECKS, ("GET", 200), ("PUT", 201), ("DELETE", 202))
               and reference_of(r.uri) is not None for r in requests)


class Total:
    __slots__ = ("pulls", "checks")

    def __init__(self, pulls=0, checks=0):
        self.pulls, self.checks = pulls, checks

    def __eq__(self, other):
        return (self.pulls, self.checks) == (other.pulls, other.checks)

    def __repr__(self):
        return f"{self.pulls} pulls {self.checks} checks"


def reference_of(uri):
    """What a request names: a Reference with tag or digest set, or None (not a manifest)."""
    raw = uri.split("?", 1)[0].encode("utf-8", "surrogateescape")
    path = unquote_to_bytes(raw).decode("utf-8", "surrogateescape")
    at = path.find("/v2/")
    if at < 0:
        return None
    name, middle, reference = path[at + 4:].rpartition("/manifests/")
    if not middle or not name or not reference or "/" in reference:
        return None
    if ":" in reference:
        return Reference(name, None, reference) if _DIGEST.match(reference) else None
    return Reference(name, reference, None)


class Truth:
    """
    names: {(repository, tag): digest}; a tag that is pushed again while the agent watches needs
    the map of its time, so tests don't do that, or feed() the log piece by piece.
    hints: match HEADs with the GETs that follow (the order of the log must be the true order)
    """

    def __init__(self, names, hints=False):
        self.names = dict(names)
        self.hints = hints
        self.tags = defaultdict(Total)  # (repository, tag)
        self.manifests = defaultdict(Total)  # (repository, digest)
        self.statuses = defaultdict(int)  # of manifest requests
        self.hinted = 0
        self._heads = {}  # (address, repository, digest) -> tag

    def feed(self, requests):
        for request in requests:
            reference = reference_of(request.uri)
            if reference is None:
                continue
            self.statuses[request.method, request.status] += 1
            if request.method == "GET" and request.status == 200:
                self._pull(request, reference)
            elif (request.method, request.status) in _CHECKS:
                self._check(request, reference)
        return self

    def _digest(self, request, reference):
        """What the reply named, None for nothing."""
        if reference.tag and request.status == 304:
            return None
        return reference.digest or self.names[reference.repository, reference.tag]

    def _pull(self, request, reference):
        repository, digest = reference.repository, self._digest(request, reference)
        if digest:
            self.manifests[repository, digest].pulls += 1
        tag = reference.tag
        if tag is None and self.hints:
            tag = self._heads.pop((request.remote, repository, digest), None)
            if tag is not None:  # the check becomes a pull
                self.hinted += 1
                self.tags[repository, tag].checks -= 1
                self.manifests[repository, digest].checks -= 1
        if tag is not None:
            self.tags[repository, tag].pulls += 1

    def _check(self, request, reference):
        repository, digest = reference.repository, self._digest(request, reference)
        if digest:
            self.manifests[repository, digest].checks += 1
        if reference.tag is None:
            return
        self.tags[repository, reference.tag].checks += 1
        if self.hints and request.status == 200 and digest:
            self._heads[request.remote, repository, digest] = reference.tag

    @property
    def pulls(self):
        return sum(total.pulls for total in self.manifests.values())

    @property
    def checks(self):
        return sum(total.checks for total in self.manifests.values())

    def differences(self, tag_rows, manifest_rows):
        """
        Compares with rows of pulltap.tags and pulltap.manifests (dicts); a list of sentences,
        empty when every total of every tag and manifest is right to the unit.
        """
        stored_tags = {(row["repository"], row["tag"]): Total(row["pulls"], row["checks"])
                       for row in tag_rows}
        stored_manifests = {(row["repository"], row["digest"]): Total(row["pulls"], row["checks"])
                            for row in manifest_rows}
        found = []
        if len(stored_tags) != len(tag_rows) or len(stored_manifests) != len(manifest_rows):
            found.append("the same tag or manifest is stored twice")
        for kind, expected, stored in (("tag", self.tags, stored_tags),
                                       ("manifest", self.manifests, stored_manifests)):
            for name in sorted(set(expected) | set(stored)):
                want = expected.get(name, Total())
                have = stored.get(name, Total())
                if want != have:
                    found.append(f"{kind} {name[0]} {name[1]}: access log {want}, stored {have}")
        return found


class SentTruth(Truth):
    """The same from a log that says which digest each reply named (request.digest, "" for none)."""

    def __init__(self, hints=False):
        super().__init__({}, hints)

    def _digest(self, request, reference):
        return reference.digest or request.digest
