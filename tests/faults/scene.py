# SPDX-License-Identifier: MIT
"""
What most faults happen to: a registry whose clients never pause, the agent that watches it, and at
the end the comparison of every total with the access log.
"""
import contextlib
import os

from lib import books, load
from lib.agent import Agent
from lib.registry import Registry
from lib.truth import Truth


class Scene:
    """
    with Scene(...) as scene: faults happen; then scene.finish() compares.
    clients: how many at once, each asks rate times a second
    asked: how many names they ask for; the others are left to pull()
    """

    def __init__(self, keep, database, conninfo=None, images=20, repositories=5, clients=1,
                 rate=80, names=None, asked=None, **agent):
        self.database = database
        self.registry = keep(Registry()).start()
        self.names = names(self.registry) if names else self.registry.fill(images, repositories)
        self.asked = dict(sorted(self.names.items())[:asked]) if asked else None
        self.since = self.registry.mark()
        self.agent = keep(Agent(conninfo or database.conninfo(), self.registry.pid, **agent))
        self.rate, self.clients = rate, [None] * clients
        self.extra = 0  # requests that a test made itself
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        self.agent.start()
        asks = load.mixed(self.asked or self.names)
        self.clients = [self._stack.enter_context(load.Trickle(self.registry, asks, self.rate))
                        for _ in self.clients]
        return self

    def __exit__(self, *error):
        return self._stack.__exit__(*error)

    def pull(self, repository, tag):
        """A pull by the test itself."""
        connection = self.registry.connect()
        self.registry.ask(connection, "GET", f"/v2/{repository}/manifests/{tag}")
        connection.close()
        self.extra += 1

    @property
    def spool(self):
        return os.path.join(self.agent.state, "spool")

    def spool_bytes(self):
        total = 0
        for name in self.agent.spool():
            with contextlib.suppress(FileNotFoundError):
                total += os.path.getsize(os.path.join(self.spool, name))
        return total

    def finish(self):
        """Last drain, everything shipped, books compared; returns the log and the books' sums."""
        self.registry.settle()
        self.agent.stop(timeout=120)
        logged = self.registry.requests(self.since)
        assert len(logged) == sum(client.sent for client in self.clients) + self.extra
        sums = books.check(self.database, Truth(self.names).feed(logged), hits=len(logged))
        assert self.agent.spool() == []
        streams = self.database.value("select count(distinct agent) from pulltap.windows")
        assert streams == 1, "the stream kept its identity"
        return logged, sums
