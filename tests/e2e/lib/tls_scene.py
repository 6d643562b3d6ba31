# SPDX-License-Identifier: MIT
"""
A server with TLS, what it holds, and an agent that watches it by OpenSSL: where tests of what clients
do to connections take place, several in turn. Each shape asks for a repository of its own, so that a
difference to the server's log names it.
"""
import pytest

from . import apache, books, haproxy, nginx
from .agent import Agent, migrate
from .apache import Apache
from .frontends import REQUESTS, USER, misleading, put_blob
from .haproxy import Haproxy
from .images import Image
from .nginx import Nginx
from .postgres import Postgres
from .registry import Registry
from .talker import Talker
from .tls_server import TlsServer
from .truth import SentTruth

REPOSITORIES = [f"shape/{name}" for name in (
    "split", "bytes", "paused", "pipelined", "bodies", "expect", "chunked", "early", "closed",
    "switch", "huge", "wrong", "gone", "slow", "resumed", "updated", "asked", "idle", "plain")]
BLOB = misleading(3 << 20)
# where servers may differ in what they read
REFUSALS = {"lost_head_refused", "lost_pipelined", "lost_out_of_step", "lost_h2_unparsed"}
FULL = REQUESTS >= 50000


every_server = pytest.mark.parametrize(
    "name", ["python3", "haproxy"] + ["nginx", "apache"] * FULL)


class Scene:
    """A server, what it holds, and an agent that watches it; several tests' in turn."""

    def __init__(self, name, **settings):
        self.name = name
        self._kept, self.before = [], 0
        try:
            self._start(settings)
        except BaseException:
            self.close()
            raise

    def _keep(self, thing):
        self._kept.append(thing)
        return thing

    def _start(self, settings):
        self.image = Image("shape")
        if self.name == "python3":
            self.server = self._keep(TlsServer(user=USER, **settings))
            for repository in REPOSITORIES:
                self.server.push(self.image, repository, "t")
            self.blob = f"/v2/shape/bodies/blobs/{self.server.put_blob(BLOB)}"
        else:
            registry = self._keep(Registry(user=USER)).start()
            for repository in REPOSITORIES:
                registry.push(self.image, repository, "t")
            self.blob = put_blob(registry, BLOB, "shape/bodies")
            self.server = self._keep(FRONTS[self.name](registry.port, **settings))
        self.server.start()
        self.database = self._keep(Postgres()).start()
        migrate(self.database)
        self.agent = self._keep(Agent(self.database.conninfo(), f"openssl:{self.server.binary}"))

    def talk(self, **settings):
        return Talker(self.server, **settings)

    def check(self, figure, what, refused=False):
        """
        Everything since the scene's start equals the log. refused: some heads may be read in more
        than one way, their connections are given up, and nothing is counted twice or wrongly.
        """
        if not refused:
            logged, truth = books.check_tls(self.database, self.server, self.agent)
            result = "exact"
        else:
            self.server.settle()
            self.agent.pause()
            logged = self.server.requests()
            truth = SentTruth().feed(logged)
            result = f"none too many, {check_refused(self.database, truth)} in lost_*"
        figure(f"{self.name}, {what}", "openssl", "HTTP/1.1 over TLS", len(logged) - self.before,
               result)
        self.before = len(logged)
        self.checked = True
        return logged, truth

    def close(self):
        for thing in reversed(self._kept):
            thing.close()


def nginx_front(port, http2=False, early=False):
    return Nginx(port, tls=True, http2=http2, http="ssl_protocols TLSv1.2 TLSv1.3;"
                 + " ssl_early_data on;" * early)


def apache_front(port):
    """It asks for the client's certificate in the middle of a connection where it may have one."""
    return Apache(port, tls=True, mpm="prefork", main="KeepAliveTimeout 60", server="""
ProxyPass / @upstream@/ nocanon
<Location "/v2/shape/asked">
	SSLVerifyClient optional_no_ca
</Location>""")


FRONTS = {"haproxy": Haproxy, "nginx": nginx_front, "apache": apache_front}
INSTALLED = {"haproxy": haproxy.installed, "nginx": nginx.installed, "apache": apache.installed}


def check_refused(database, truth):
    """How many replies are in no total: a connection's, from where it was given up and counted."""
    rows = {("tag", row["repository"], row["tag"]): row for row in database.tags("test")}
    rows |= {("manifest", row["repository"], row["digest"]): row
             for row in database.manifests("test")}
    wanted = {("tag", *name): total for name, total in truth.tags.items()}
    wanted |= {("manifest", *name): total for name, total in truth.manifests.items()}
    missing = 0
    for name, row in rows.items():
        have, want = (row["pulls"], row["checks"]), wanted[name]
        assert have[0] <= want.pulls and have[1] <= want.checks, (name, have, want)
    for name, total in wanted.items():
        row = rows.get(name, {"pulls": 0, "checks": 0})
        if name[0] == "manifest":
            missing += total.pulls + total.checks - row["pulls"] - row["checks"]
    lost = database.rows("select reason, sum(count)::int as count from pulltap.losses group by 1")
    assert {row["reason"] for row in lost} <= REFUSALS, lost
    assert not missing or lost, missing
    assert database.rows("select * from pulltap.windows where not balanced") == []
    return missing
