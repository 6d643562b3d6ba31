# SPDX-License-Identifier: MIT
"""
Faults on purpose: agents, databases, registries, disks and switches fail while clients go on
pulling, and every total must still equal the registry's own access log. `make test-faults` runs
them at full length and ends in one table of figures; `make test` runs them shortened.
"""
import os
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]
sys.dont_write_bytecode = True

from lib import proc  # noqa: E402
from lib.agent import migrate  # noqa: E402
from lib.figures import Figures  # noqa: E402
from lib.postgres import Postgres  # noqa: E402

proc.end_on_signal()

# 1 is what the table is made with; `make test` asks for less.
SCALE = float(os.environ.get("PULLTAP_FAULTS", "1"))
_figures = Figures("fault", "extent", "result")


@pytest.fixture
def scaled():
    """scaled(100, least=5): so many of something, fewer in a shortened run."""
    return lambda number, least=1: max(least, round(number * SCALE))


@pytest.fixture
def figure():
    """figure("agent killed", "100 times", "12,000 requests, exact"): a line of the table."""
    return _figures.add


@pytest.fixture
def keep():
    """keep(thing) closes it when the test ends; things end in reverse order."""
    kept = []

    def add(thing):
        kept.append(thing)
        return thing

    yield add
    for thing in reversed(kept):
        thing.close()


@pytest.fixture
def database(keep):
    """A started cluster with pulltap's schema."""
    postgres = keep(Postgres()).start()
    migrate(postgres)
    return postgres


def pytest_terminal_summary(terminalreporter):
    _figures.show(terminalreporter)
