# SPDX-License-Identifier: MIT
"""
Ways in which the agent, the database's sessions, or both die, at moments nobody chose and at
moments chosen to hurt.
"""
import os
import random
import signal
import time

from .proc import until


def seed():
    """Chance that can be had again: PULLTAP_SEED, or a new number that is printed."""
    number = int(os.environ.get("PULLTAP_SEED", str(random.randrange(1 << 32))))
    print(f"seed {number}: PULLTAP_SEED={number} repeats it")
    random.seed(number)


def agent_backends(database, condition="true"):
    """Pids of the server processes that work for the agent."""
    rows = database.rows("select pid from pg_stat_activity where backend_type = 'client backend' "
                         "and datname = current_database() and pid <> pg_backend_pid() "
                         f"and application_name not like 'psql%' and ({condition})")
    return [row["pid"] for row in rows]


class Deaths:
    """Every way to die; each returns when what it needs to go on is up again."""

    def __init__(self, agent, database):
        self.agent, self.database = agent, database
        self.counts = {}
        self.held = 0  # transactions that hung at our lock when they were struck

    def strike(self, name):
        self.counts[name] = self.counts.get(name, 0) + 1
        getattr(self, name)()

    def _kill_and_restart(self):
        self.agent.kill()
        self.agent.start()

    def agent_anywhere(self):
        time.sleep(random.uniform(0, 1.5))
        self._kill_and_restart()

    def agent_at_start(self):
        """While it adopts what the one before left."""
        self.agent.kill()
        self.agent.start(ready=False)
        time.sleep(random.uniform(0, 0.15))
        self._kill_and_restart()

    def agent_at_drain(self):
        """Around the moment when a window ends: a new file in the spool."""
        end = time.monotonic() + 2
        spool = self._spool_state()
        while time.monotonic() < end and self._spool_state() == spool:
            time.sleep(0.001)
        time.sleep(random.uniform(0, 0.004))
        self._kill_and_restart()

    def agent_at_ship(self):
        """Within the transaction: held up at a lock after the window was claimed."""
        self._hold_up()
        self._kill_and_restart()
        self._release()

    def backend_in_transaction(self):
        self._hold_up()
        for pid in self.waiting:
            self._kill_backend(pid)
        self._release()
        self._database_back()

    def backend_anywhere(self):
        time.sleep(random.uniform(0, 1))
        for pid in agent_backends(self.database):
            self._kill_backend(pid)
        self._database_back()

    def both(self):
        self._hold_up()
        self.agent.kill()
        for pid in self.waiting:
            self._kill_backend(pid)
        self._release()
        self._database_back()
        self.agent.start()

    def server_in_transaction(self):
        """The whole server, restarted or crashed while the agent's transaction hangs."""
        self._hold_up()
        self.database.stop(random.choice([signal.SIGINT, signal.SIGQUIT]))
        self.lock.kill()
        self.database.start()

    # parts

    def _spool_state(self):
        found = []
        for path, _, names in os.walk(self.agent.state):
            found += [os.path.join(path, name) for name in names]
        return sorted(found)

    def _hold_up(self):
        """Waits until the agent's transaction hangs at a lock that we hold."""
        self.lock = self.database.session(
            "begin; lock table pulltap.tag_total in share mode; select pg_sleep(60);")
        self.waiting = []

        def waits():
            self.waiting = agent_backends(self.database, "wait_event_type = 'Lock'")
            return self.waiting

        try:
            until(waits, 4, every=0.02, what="a transaction waits")
            self.held += 1
        except AssertionError:
            pass  # its lock timeout may be shorter than our look: a plain death then

    def _release(self):
        self.lock.kill()
        # the server would notice at its next write only: end the session that holds the lock
        if self._answers():
            self.database.execute("select pg_terminate_backend(pid) from pg_stat_activity "
                                  "where query like '%lock table pulltap.tag_total%' "
                                  "and pid <> pg_backend_pid()")

    def _answers(self):
        return self.database.ready()

    def _kill_backend(self, pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def _database_back(self):
        until(self._answers, 30, every=0.05, what="the database has recovered")
