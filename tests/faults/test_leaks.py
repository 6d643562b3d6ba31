# SPDX-License-Identifier: MIT
"""
Fault 8: an agent that runs for long while databases and registries restart and the switch goes off
and on. Two of them watch one registry: one built with ASan, UBSan and LSan, which says at its end
what was leaked; and the ordinary one, unprivileged, whose memory and descriptors must stay flat.
"""
import os
import signal
import statistics
import threading
import time

from lib import books
from lib.agent import Agent, migrate, pulltap
from lib.images import Image
from lib.load import Trickle, mixed
from lib.postgres import Postgres
from lib.proc import REPOSITORY_ROOT, until
from lib.registry import Registry
from lib.rights import USER, children, without_user
from lib.truth import Truth

ASAN = os.path.join(os.environ.get("PULLTAP_BUILD", os.path.join(REPOSITORY_ROOT, "build")),
                    "asan", "pulltap")
# What malloc and the stacks may still settle by; a leak of one block a second is many times that
# in ten minutes.
SLACK_KIB = 512


class Samples(threading.Thread):
    """Resident memory without file pages, and descriptors, of an agent and of its helper."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pids = [pid, *children(pid)]
        self.seen = []
        self.rested = []  # by round: descriptors of each process when nothing is on its way
        self._end = threading.Event()
        self.start()

    @staticmethod
    def _look(pid):
        with open(f"/proc/{pid}/status") as lines:
            anonymous, = [int(line.split()[1]) for line in lines if line.startswith("RssAnon")]
        return anonymous, len(os.listdir(f"/proc/{pid}/fd"))

    def run(self):
        while not self._end.wait(0.5):
            self.seen.append([self._look(pid) for pid in self.pids])

    def rest(self):
        """Connections come and go: what it is most of a second."""
        looks = []
        for _ in range(10):
            looks.append([self._look(pid)[1] for pid in self.pids])
            time.sleep(0.1)
        self.rested.append([statistics.median_low(look) for look in zip(*looks)])

    def end(self):
        self._end.set()
        self.join()

    def halves(self, index, value):
        """Of process index: the values of the first and of the second half."""
        values = [sample[index][value] for sample in self.seen]
        return values[:len(values) // 2], values[len(values) // 2:]


def restart_database(database):
    database.process.stop(signal.SIGQUIT, 60)
    database.process = None
    database.start()


def other_database(keep):
    postgres = keep(Postgres()).start()
    migrate(postgres)
    return postgres


class Course:
    """Load without end but where a registry restarts or nothing is counted."""

    def __init__(self, registry, databases, agents):
        self.registry, self.databases, self.agents = registry, databases, agents
        self.truth = Truth(registry.names())
        self.asks = mixed(registry.names())
        self.requests = self.rounds = 0

    def load(self, seconds, event=None):
        since = self.registry.mark()
        with Trickle(self.registry, self.asks, 150) as trickle:
            if event:
                event()
            time.sleep(seconds)
        self.registry.settle()
        self.requests += trickle.sent
        self.truth.feed(self.registry.requests(since))

    def counting(self, wanted):
        for agent in self.agents:
            until(lambda: agent.status()["counting"] is wanted, 30, what="the switch")

    def switch_off_and_on(self):
        for agent in self.agents:
            pulltap("off", "--bpffs", agent.bpffs)
        self.counting(False)
        time.sleep(1)
        for agent in self.agents:
            pulltap("on", "--bpffs", agent.bpffs)
        self.counting(True)
        self.probed()

    def probed(self):
        """Every site of every agent has its probe again."""
        for agent in self.agents:
            until(lambda: [name for name in agent.pinned() if name.startswith("link/site")]
                  and not agent.status().get("trouble"), 30, what="the probes are back")

    def round(self):
        self.load(2, lambda: restart_database(self.databases[self.rounds % 2]))
        self.registry.stop()
        self.registry.start()
        self.load(2)
        self.switch_off_and_on()
        self.load(1)
        self.rounds += 1


def test_agents_leak_nothing_and_stay_flat_through_restarts(keep, database, scaled, figure):
    seconds = 600 if scaled(100) == 100 else 45
    databases = [database, other_database(keep)]
    registry = keep(Registry()).start()
    for number in range(20):
        registry.push(Image(f"leak-{number}"), f"team/app-{number % 5}", f"v{number}")
    sanitized = keep(Agent(databases[0].conninfo(), registry.binary))
    sanitized.binary = ASAN
    sanitized.arguments = without_user(sanitized)  # LSan traces its own threads at the end
    plain = keep(Agent(databases[1].conninfo(), registry.binary, arguments=["--user", USER]))
    agents = [sanitized, plain]
    for agent in agents:
        agent.start()
    with open(f"/proc/{sanitized.pid}/maps") as maps:
        assert "libasan" in maps.read()
    course = Course(registry, databases, agents)
    end = time.monotonic() + seconds
    course.round()  # everything has happened once
    samples = Samples(plain.pid)
    while time.monotonic() < end:
        course.round()
        samples.rest()
    samples.end()
    sanitized.stop(timeout=120)  # exit status 0, or it says what was leaked
    plain.stop(timeout=120)
    assert "Sanitizer" not in sanitized.log(everything=True)
    for postgres in databases:
        books.check(postgres, course.truth)
    told = []
    for index, name in enumerate(("agent", "helper")):
        first, second = samples.halves(index, 0)
        assert statistics.median(second) <= statistics.median(first) + SLACK_KIB, (first, second)
        told.append(f"{name} {statistics.median(first):,.0f} -> {statistics.median(second):,.0f} "
                    "KiB")
        first, second = samples.halves(index, 1)
        # some are open, or closed, for a moment only, when a sample is taken
        assert statistics.median(second) <= statistics.median(first), (first, second)
        rested = [numbers[index] for numbers in samples.rested]
        assert len(rested) > 1 and max(rested[1:]) <= rested[0], rested
        told.append(f"{min(second)} to {max(second)} descriptors")
    figure("agent that runs for long", f"{seconds} s, {course.rounds} rounds of restarts and off",
           f"{course.requests:,} requests, exact, no leak, " + ", ".join(told))
