# SPDX-License-Identifier: MIT
"""The commands of docs/inspect.md, run as they stand there on what the page says has happened:
each succeeds and prints every line that the page shows, but for its numbers."""

import pathlib
import re
import subprocess

import pytest

import watching
from watching import dump_map

from lib import load
from lib.agent import Agent
from lib.images import Image
from lib.proc import REPOSITORY_ROOT, clean_environment, until
from lib.registry import Registry

PAGE = pathlib.Path(REPOSITORY_ROOT) / "docs" / "inspect.md"
PINS = "/sys/fs/bpf/pulltap"
STATISTICS = pathlib.Path("/proc/sys/kernel/bpf_stats_enabled")


def examples():
    """[(commands, lines of output or None)] of the page, in its order."""
    blocks = re.findall(r"^```(sh)?\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    found = []
    for kind, text in blocks:
        if kind:
            found.append((text.splitlines(), None))
        else:
            assert found and found[-1][1] is None, "output without a command"
            found[-1] = (found[-1][0], text.splitlines())
    return found


def without_numbers(line):
    line = re.sub(r"sha256:[0-9a-f]{64}|tag [0-9a-f]{16}", "HEX", line)
    return re.sub(r"\d+", "N", line).strip()


@pytest.fixture
def bpffs():
    """A machine on which just that has happened what the page says."""
    statistics = STATISTICS.read_text()
    with Registry() as registry:
        registry.push(Image(1), "team/app", "v1")
        registry.push(Image(2), "team/app", "v2")
        agent = Agent("host=/nonexistent", registry.pid, registry="hub", window=3600, hint=300)
        with agent:
            base = "/v2/team/app/manifests/"
            load.curl(registry, [load.ask("GET", base + "v1")] * 3
                      + [load.ask("HEAD", base + "v2"), load.ask("GET", base + "v3"),
                         load.ask("GET", "/v2/")])
            until(lambda: dump_map(agent.bpffs + "/registries")[0]["value"]["replies"] == 6,
                  what="all are counted")
            # somebody has to be measured
            with load.Trickle(registry, [load.ask("GET", "/v2/")], 20):
                yield agent.bpffs
    STATISTICS.write_text(statistics)


def test_every_command_of_the_page_prints_what_the_page_shows(bpffs):
    shown = examples()
    assert len(shown) >= 10
    for commands, expected in shown:
        printed = ""
        for command in commands:
            assert PINS in command or command.split()[0] in ("sysctl", "sleep"), command
            done = subprocess.run(command.replace(PINS, bpffs), shell=True, text=True,
                                  capture_output=True, env=clean_environment(), timeout=60)
            assert done.returncode == 0, f"{command}: {done.stderr}"
            printed += done.stdout.replace(bpffs, PINS)
        lines = {without_numbers(line) for line in printed.splitlines()}
        missing = [line for line in expected or [] if line != "..."
                   and without_numbers(line) not in lines]
        assert not missing, f"{commands} prints no such lines: {missing}\n{printed}"


def test_every_pinned_name_is_on_the_page(bpffs):
    page = PAGE.read_text()
    names = {entry.name for entry in pathlib.Path(bpffs).rglob("*")}
    names -= {"go_http1", "go_http2"}  # program/ stands for its own
    unknown = [name for name in names
               if name not in page and not re.fullmatch(r"site_\d+|generation_\d+", name)]
    assert not unknown, f"docs/inspect.md doesn't say what these are: {sorted(unknown)}"


def test_whatever_a_person_looks_at_has_names(bpffs):
    """Types travel with every map: keys and values by name, text as text, enums by their names."""
    for name in ("window_0/counts", "window_1/counts", "window_0/ledger", "registries", "sites",
                 "control", "off", "hints", "window_0/overflow", "window_0/long_counts"):
        for entry in dump_map(f"{bpffs}/{name}"):
            assert set(entry) <= {"key", "value", "values"}
    key = dump_map(f"{bpffs}/window_0/counts")[0]["key"]
    assert key["op"] in ("PT_OP_GET", "PT_OP_HEAD") and key["repository"] == "team/app"
    hint, = dump_map(f"{bpffs}/hints")
    assert (hint["key"]["peer"], hint["value"]["tag"]) == ("127.0.0.1", "v2")
    sites = [entry["value"] for entry in dump_map(f"{bpffs}/sites") if entry["value"]["hook"]]
    assert {site["hook"] for site in sites} == {"PT_GO_HOOK_HTTP1", "PT_GO_HOOK_HTTP2"}
    assert {slot["dirty"] for slot in dump_map(f"{bpffs}/control")[0]["value"]["slot"]} == {
        "PT_SLOT_CLEAN"}
