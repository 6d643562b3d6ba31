# SPDX-License-Identifier: MIT
"""Fixtures of the end-to-end tests. They need root, BPF and the packages of deploy/deps.sh test."""
import os
import sys

import pytest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(__file__))

from lib import proc  # noqa: E402
from lib.agent import BINARY, migrate  # noqa: E402
from lib.postgres import Postgres  # noqa: E402

proc.end_on_signal()


def pytest_configure(config):
    config.addinivalue_line("markers", "needs_pulltap: needs the built program")


def pytest_runtest_setup(item):
    if os.geteuid() != 0:
        pytest.fail("the end-to-end tests attach probes and run servers: run them as root")
    if item.get_closest_marker("needs_pulltap") and not os.path.exists(BINARY):
        if proc.CI:
            pytest.fail(f"{BINARY} is not built")
        pytest.skip(f"{BINARY} is not built")


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
def folder(keep):
    return keep(proc.Folder())


@pytest.fixture
def postgres(keep):
    """A started cluster with an empty database."""
    return keep(Postgres()).start()


@pytest.fixture
def database(postgres):
    """A started cluster with pulltap's schema."""
    migrate(postgres)
    return postgres
