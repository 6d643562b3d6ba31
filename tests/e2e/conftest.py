# SPDX-License-Identifier: MIT
"""Fixtures of the end-to-end tests. They need root, BPF and the packages of deploy/deps.sh test."""
import os
import sys

import pytest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(__file__))

from lib import proc, tls_scene  # noqa: E402
from lib.agent import BINARY, migrate  # noqa: E402
from lib.figures import Figures  # noqa: E402
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


@pytest.fixture(scope="module")
def scenes():
    """Scenes that tests have left in order."""
    made = {}
    yield made
    for one in made.values():
        one.close()


@pytest.fixture
def scene(scenes):
    """scene("haproxy"): a test's own until it ends, the next one's when it was exact then."""
    taken = []

    def take(name, shared=True, **settings):
        if name in tls_scene.INSTALLED and not tls_scene.INSTALLED[name]() and not proc.CI:
            pytest.skip(f"{name} is not installed")
        one = scenes.pop(name, None) if shared else None
        one = one or tls_scene.Scene(name, **settings)
        taken.append((one, shared))
        one.checked = False
        one.agent.start()
        return one

    yield take
    for one, shared in taken:
        if one.checked and shared:
            scenes[one.name] = one
        else:
            one.close()


_cells = {}
_front_ends = Figures("server", "way in", "protocol", "requests", "result")


@pytest.fixture
def table():
    """table(client, case, cell, way): a line of the truth table, the same for every way."""

    def add(client, case, cell, way):
        _cells.setdefault((client, case), {}).setdefault(cell, []).append(way)

    return add


@pytest.fixture
def figure():
    """figure("nginx", "nginx", "HTTP/2 over TLS", 12000, "exact"): a line of the front ends' table."""
    return _front_ends.add


def pytest_terminal_summary(terminalreporter):
    _front_ends.show(terminalreporter)
    _show_cells(terminalreporter)


def _show_cells(terminalreporter):
    """As docs/counting.md shows it. A line more for a way that differs from the others."""
    if not _cells:
        return
    terminalreporter.write_line("")
    terminalreporter.write_line("| client | case | manifest requests | tag | manifest | child | ways |")
    terminalreporter.write_line("| --- | --- | --- | --- | --- | --- | --- |")

    def count(total):
        return f"{total[0]} / {total[1]}" if any(total) else ""

    for (client, case), cells in _cells.items():
        for cell, ways in cells.items():
            terminalreporter.write_line(
                f"| {client} | {case} | {cell.requests or 'none'} | {count(cell.tag)} | "
                f"{count(cell.manifest)} | {count(cell.child)} | {len(ways)} |")
