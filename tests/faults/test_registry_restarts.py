# SPDX-License-Identifier: MIT
"""
Fault 4: the registry is restarted, and its binary replaced by another build while it runs, under
clients that ask again from the moment the last process was gone: the first request comes as early
as a request can. Every reply that the registry logged is counted.
"""
import http.client
import json
import os
import pathlib
import shutil
import sys
import threading
import time
from collections import Counter

import pytest

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "kernel" / "servers"))

import go_servers  # noqa: E402
from lib import books, load  # noqa: E402
from lib.agent import Agent  # noqa: E402
from lib.images import ACCEPT  # noqa: E402
from lib.proc import CI, Failed, Folder, Process, free_port, until  # noqa: E402
from lib.registry import Registry  # noqa: E402
from lib.truth import Truth  # noqa: E402

CLIENTS = 2


class Impatient:
    """Clients that ask for one path after the other and, where nobody listens, try again at once.
    rest() returns when nothing is on its way."""

    def __init__(self, port, paths):
        self.port, self.paths = port, paths
        self.answered = [0] * CLIENTS
        self.refused = 0
        self._go, self._ended = threading.Event(), threading.Event()
        self._resting = [threading.Event() for _ in range(CLIENTS)]
        self._threads = [threading.Thread(target=self._run, args=(i,), daemon=True)
                         for i in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def go(self):
        for resting in self._resting:
            resting.clear()
        self._go.set()

    def rest(self):
        self._go.clear()
        for resting in self._resting:
            if not resting.wait(30):
                raise Failed("a client does not come to rest")

    def close(self):
        self._ended.set()
        self._go.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, index):
        connection = None
        while not self._ended.is_set():
            if not self._go.is_set():
                if connection:
                    connection.close()
                connection = None
                self._resting[index].set()
                self._go.wait()
                continue
            try:
                if not connection:
                    connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                    connection.connect()
                connection.request("GET", self.paths[self.answered[index] % len(self.paths)],
                                   headers={"Accept": ACCEPT})
                connection.getresponse().read()
                self.answered[index] += 1
            except ConnectionRefusedError:
                self.refused += 1
                connection = None
                time.sleep(0.0003)


def another_build(path, number):
    """Puts a file with another inode and another build id in the place of path, at once."""
    fresh = f"{path}.new"
    shutil.copy(path, fresh)
    with open(fresh, "r+b") as file:
        data = file.read()
        at = data.index(b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0") + 16
        file.seek(at)
        file.write(number.to_bytes(4, "little"))
    os.rename(fresh, path)


def test_first_request_after_every_restart_is_counted(keep, database, scaled, figure):
    registry = keep(Registry()).start()
    names = registry.fill(10)
    paths = [ask.path for ask in load.mixed(names)]
    since = registry.mark()
    agent = keep(Agent(database.conninfo(), registry.binary)).start()
    clients = keep(Impatient(registry.port, paths))
    restarts = scaled(20, least=8)
    for number in range(restarts):
        clients.go()
        time.sleep(0.5)
        if number % 2:
            another_build(registry.binary, number)
            time.sleep(0.2)  # the least that an upgrade takes between the file and the restart
        clients.rest()
        registry.stop()
        clients.go()
        registry.start()
    time.sleep(0.5)
    clients.rest()
    registry.settle()
    agent.stop()
    logged = registry.requests(since)
    assert len(logged) == sum(clients.answered)
    assert clients.refused > restarts, "the clients were there before the registry"
    books.check(database, Truth(names).feed(logged), hits=len(logged))
    figure("registry restarted", f"{restarts} times, {restarts // 2} with another build",
           f"{len(logged):,} requests, exact, first ones included")


class GoServer:
    """Our own server, whose builds differ as those of a registry do, under one path."""

    def __init__(self):
        self.folder = Folder("pulltap-goserver-")
        self.port = free_port()
        self.path = self.folder / "server"
        self.runs = 0
        self.process = None

    def put(self, build):
        fresh = self.folder / "server.new"
        shutil.copy(build, fresh)
        os.rename(fresh, self.path)

    def start(self):
        self.runs += 1
        self.process = Process([self.path, "-listen", f"127.0.0.1:{self.port}", "-access-log",
                                self.folder / f"access-{self.runs}"],
                               stdout="/dev/null", stderr=self.folder / "errors")

    def stop(self):
        self.process.stop()

    def logged(self):
        found = Counter()
        for number in range(1, self.runs + 1):
            with open(self.folder / f"access-{number}") as log:
                for line in log:
                    entry = json.loads(line)
                    if entry["outcome"] == "finished":
                        found[entry["uri"]] += 1
        return found

    def close(self):
        if self.process:
            self.process.close()
        self.folder.close()


def test_server_replaced_by_other_builds_of_go_loses_no_reply(keep, database, scaled, figure):
    """Each with its layouts and its hooks at other places: a probe at an old place would be wrong."""
    go_servers.fetch()
    builds = [server.path for server in go_servers.servers()
              if server.steered and not server.missing()]
    if len(builds) < 3:
        pytest.fail("no builds of goserver") if CI else pytest.skip("no builds of goserver")
    server = keep(GoServer())
    server.put(builds[0])
    server.start()
    agent = keep(Agent(database.conninfo(), server.path)).start()
    clients = keep(Impatient(server.port, [f"/v2/go/app-{i}/manifests/v{i}" for i in range(7)]))
    restarts = scaled(20, least=8)
    for number in range(restarts):
        clients.go()
        time.sleep(0.4)
        server.put(builds[(number + 1) % len(builds)])
        time.sleep(0.2)
        clients.rest()
        time.sleep(0.05)  # the last reply is finished after it was read
        server.stop()
        clients.go()
        server.start()
    until(lambda: clients.answered[0], 10, what="answers")
    time.sleep(0.5)
    clients.rest()
    time.sleep(0.3)
    agent.stop()
    logged = server.logged()
    assert sum(logged.values()) == sum(clients.answered)
    stored = {f"/v2/{row['repository']}/manifests/{row['tag']}": row["pulls"]
              for row in database.tags("test")}
    assert stored == dict(logged)
    books.check_windows(database)
    figure("server replaced by another build of Go", f"{restarts} times, {len(builds)} builds",
           f"{sum(logged.values()):,} requests, exact, first ones included")
