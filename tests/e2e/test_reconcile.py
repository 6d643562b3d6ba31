# SPDX-License-Identifier: MIT
"""
What pulltap counts is held against what somebody else says, while it runs: the registry's access
log through rotations and an agent that dies, its own metrics, nginx in front of it. Where counting
was off, they must differ; where a server hangs, nothing else may.
"""
import contextlib
import os
import shutil
import socket
import time

import pytest

from lib import load
from lib.agent import Agent, pulltap
from lib.proc import Folder, Process, find_program, free_port, listening, run, until
from lib.registry import Registry
from lib.rights import USER
from lib.truth import Truth

pytestmark = pytest.mark.needs_pulltap


def begin(keep, database, registry, where, **options):
    agent = keep(Agent(database.conninfo(), registry.pid,
                       arguments=["--reconcile", f"test={where}"], **options)).start()
    agent.wait_log("comparing with an outside truth")
    return agent


def truth_of(agent):
    truth, = agent.status()["agent"]["truths"]
    return truth


def start_again(registry):
    """With a log of its own if the one before was renamed."""
    registry.process.stop()
    registry.start()


def send(registry, times=1):
    """A mix of requests by several clients at once; returns how many manifest replies count."""
    asks = load.mixed(registry.names()) + [load.ask("GET", "/v2/"), load.ask("GET", "/v2/x/tags/list")]
    got = load.curl(registry, asks * times, parallel=8)
    return sum(1 for one in got if "/manifests/" in one.path and one.status in (200, 201, 202))


def wait_compared(agent, truth, counted=None, unit=None):
    """Until both sides are as they must be, and then that nobody complains."""
    expected = (truth, truth if counted is None else counted)
    until(lambda: (truth_of(agent)["truth"], truth_of(agent)["counted"]) == expected, 20, 0.2,
          what=lambda: f"{expected} compared: {truth_of(agent)}\n{agent.log()[-1500:]}")
    text = pulltap("status", "--state-dir", agent.state, "--bpffs", agent.bpffs, check=False).stdout
    line, = [line for line in text.splitlines() if line.startswith("truth ")]
    assert f"{expected[1]:,} of {expected[0]:,} {unit or 'manifest replies'} (" in line, line
    if counted is None:
        assert "(100.00 %)" in line and truth_of(agent)["difference"] == 0
        assert "an outside truth differs" not in agent.log()


def test_access_log_agrees_through_rotations_and_a_killed_agent(keep, database):
    registry = keep(Registry()).start()
    registry.fill(5)
    agent = begin(keep, database, registry, registry.log_path)
    sent = send(registry, 3)
    wait_compared(agent, sent)
    # renamed: the registry writes on into the renamed file, until it is started again
    os.rename(registry.log_path, registry.log_path + ".1")
    sent += send(registry)
    wait_compared(agent, sent)
    start_again(registry)
    assert os.path.exists(registry.log_path)
    sent += send(registry)
    wait_compared(agent, sent)
    # truncated, as copytruncate does
    registry.settle()
    shutil.copy(registry.log_path, registry.log_path + ".2")
    os.truncate(registry.log_path, 0)
    time.sleep(2.5)  # what outgrows its old size between two looks was never seen shorter
    sent += send(registry, 2)
    wait_compared(agent, sent)
    # nobody looks meanwhile, and the file is renamed while nobody does
    agent.kill()
    sent += send(registry)
    registry.settle()
    os.rename(registry.log_path, registry.log_path + ".3")
    start_again(registry)
    agent.start()
    agent.wait_log("going on in an access log")
    sent += send(registry)
    wait_compared(agent, sent)


def test_access_log_shows_what_was_not_counted(keep, database):
    registry = keep(Registry()).start()
    registry.fill(5)
    agent = begin(keep, database, registry, registry.log_path)
    sent = send(registry)
    wait_compared(agent, sent)

    def switch(value):
        run([find_program("bpftool"), "map", "update", "pinned", agent.bpffs + "/off",
             "key", "0", "0", "0", "0", "value", str(value), "0", "0", "0"])

    switch(64)
    missed = [load.ask("GET", f"/v2/r/0/manifests/t{n % 5}") for n in range(50)]
    load.curl(registry, missed)
    registry.settle()
    switch(0)
    wait_compared(agent, sent + 50, sent)
    agent.wait_log("an outside truth differs")
    event, = agent.events("an outside truth differs")
    assert (event["truth"], event["counted"], event["difference"]) == (
        str(sent + 50), str(sent), "50")
    until(lambda: any("50 manifest replies fewer than its access log says" in one["what"]
                      for one in agent.status()["trouble"]), 10, what="status tells")


def test_metrics_of_the_registry_agree(keep, database):
    port = free_port()
    registry = keep(Registry(environment={
        "REGISTRY_HTTP_DEBUG_ADDR": f"127.0.0.1:{port}",
        "REGISTRY_HTTP_DEBUG_PROMETHEUS_ENABLED": "true"})).start()
    registry.fill(5)
    agent = begin(keep, database, registry, f"http://127.0.0.1:{port}/metrics")
    sent = send(registry, 3)
    wait_compared(agent, sent)
    assert truth_of(agent)["source"] == "metrics"
    # its counters begin at zero again, which is no difference
    start_again(registry)
    time.sleep(11)  # two looks, so that the comparison has begun anew
    more = send(registry)
    wait_compared(agent, sent + more)


def test_agent_without_rights_reads_log_and_metrics(keep, database):
    """Within its filter of system calls, by a name that has to be resolved."""
    port = free_port()
    registry = keep(Registry(environment={
        "REGISTRY_HTTP_DEBUG_ADDR": f"localhost:{port}",
        "REGISTRY_HTTP_DEBUG_PROMETHEUS_ENABLED": "true"})).start()
    registry.fill(5)
    agent = keep(Agent(database.conninfo(), registry.pid, arguments=[
        "--user", USER, "--reconcile", f"test={registry.log_path}",
        "--reconcile", f"test=http://localhost:{port}/metrics"])).start()
    until(lambda: len(agent.events("comparing with an outside truth")) == 2, 30, what="both")
    sent = send(registry, 3)
    until(lambda: [(one["truth"], one["counted"], one["error"])
                   for one in agent.status()["agent"]["truths"]] == [(sent, sent, "")] * 2,
          20, what=lambda: f"{sent}: {agent.status()}")


class Nginx:
    """In front of a registry; nothing else is served but the status page."""

    def __init__(self, registry):
        self.folder = Folder("pulltap-nginx-")
        self.port = free_port()
        self.url, self.ca = f"http://127.0.0.1:{self.port}", None
        self.status = f"{self.url}/pulltap-stub-status"
        config = self.folder.write("nginx.conf", f"""
            daemon off; worker_processes 2; pid {self.folder / "pid"};
            error_log {self.folder / "error.log"};
            events {{ worker_connections 256; }}
            http {{
                access_log {self.folder / "access.log"};
                client_body_temp_path {self.folder / "body"};
                proxy_temp_path {self.folder / "proxy"};
                fastcgi_temp_path {self.folder / "fastcgi"};
                uwsgi_temp_path {self.folder / "uwsgi"};
                scgi_temp_path {self.folder / "scgi"};
                server {{
                    listen 127.0.0.1:{self.port};
                    location /v2/ {{ proxy_pass {registry.url}; }}
                    location = /pulltap-stub-status {{ stub_status; }}
                }}
            }}""")
        self.process = Process([find_program("nginx"), "-p", self.folder.path, "-c", config],
                               stderr=self.folder / "stderr")
        until(lambda: listening(self.port), 20, what="nginx listens")

    def close(self):
        self.process.close()
        self.folder.close()


class Through:
    """The registry as clients behind nginx see it."""

    def __init__(self, registry, nginx):
        self.registry, self.url, self.ca = registry, nginx.url, None

    def names(self):
        return self.registry.names()


def test_stub_status_of_nginx_in_front_agrees(keep, database):
    registry = keep(Registry()).start()
    registry.fill(5)
    nginx = keep(Nginx(registry))
    agent = begin(keep, database, registry, nginx.status)
    front = Through(registry, nginx)
    since = registry.mark()
    send(front, 3)
    registry.settle()
    replies = len(registry.requests(since))
    wait_compared(agent, replies, unit="replies")
    assert truth_of(agent)["source"] == "stub_status"


def test_access_log_of_nginx_in_front_agrees(keep, database):
    registry = keep(Registry()).start()
    registry.fill(5)
    nginx = keep(Nginx(registry))
    agent = begin(keep, database, registry, nginx.folder / "access.log")
    wait_compared(agent, send(Through(registry, nginx), 3))


@contextlib.contextmanager
def hanging_server():
    """Takes connections and says nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(16)
        yield f"http://127.0.0.1:{server.getsockname()[1]}/metrics"


def test_server_that_hangs_delays_no_window_and_no_end(keep, database):
    registry = keep(Registry()).start()
    names = registry.fill(5)
    with hanging_server() as where:
        agent = keep(Agent(database.conninfo(), registry.pid,
                           arguments=["--reconcile", f"test={where}"])).start()
        since = registry.mark()
        send(registry)
        registry.settle()
        truth = Truth(names).feed(registry.requests(since))
        # stored while the first question still waits for its answer
        until(lambda: not truth.differences(database.tags("test"), database.manifests("test")),
              4, what="the window is stored")
        assert "an outside truth can't be read" not in agent.log()
        agent.wait_log("an outside truth can't be read", 15)
        until(lambda: any("can't be asked: " in one["what"] for one in agent.status()["trouble"]),
              10, what="status tells")
        began = time.monotonic()
        agent.stop()
        assert time.monotonic() - began < 4


def test_log_that_is_missing_or_no_log_is_told_and_counting_goes_on(keep, database, folder):
    registry = keep(Registry()).start()
    registry.fill(2)
    missing, port = folder / "missing.log", free_port()
    agent = keep(Agent(database.conninfo(), registry.pid, arguments=[
        "--reconcile", f"test={missing}", "--reconcile", f"nobody=http://127.0.0.1:{port}/x"]))
    agent.start()
    until(lambda: len(agent.events("an outside truth can't be read")) == 2, 20, what="both told")
    said = {event["where"]: event["error"] for event in
            agent.events("an outside truth can't be read")}
    assert said[missing] == "No such file or directory"
    sent = send(registry)
    until(lambda: database.value("select coalesce(sum(counted), 0) from pulltap.windows") == sent,
          20, what="counted all the same")
    # it comes later: from then on it is compared
    shutil.copy(registry.log_path, missing)
    until(lambda: [one["since"] for one in agent.status()["agent"]["truths"]][0], 10,
          what="the log is compared")
    assert any("nobody" in one["what"] for one in agent.status()["trouble"])
