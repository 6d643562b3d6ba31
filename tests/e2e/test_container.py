# SPDX-License-Identifier: MIT
"""
The container image, and the pod of deploy/k8s with exactly its rights (lib/pod.py): it observes
registries on the node and in other containers, and one pod takes over from another without losing
or doubling a pull.
"""
import json
import os
import secrets
import time

import pytest

from lib import books, load, proc
from lib.agent import BPFFS, ensure_bpffs
from lib.containers import Podman, RegistryContainers, build_image
from lib.images import Image
from lib.pod import Pod, daemonset, write_volume
from lib.registry import Registry
from lib.truth import Truth

PROGRAMS = ("podman", "buildah", "runc", "debootstrap")
RATE = 60  # requests a second to each registry

@pytest.fixture(scope="module")
def image():
    missing = [name for name in PROGRAMS if not proc.find_program(name)]
    if missing:
        reason = f"not installed: {', '.join(missing)}"
        pytest.fail(reason) if proc.CI else pytest.skip(reason)
    return build_image()


@pytest.fixture
def podman(keep, image):
    return keep(Podman())


class PinFolder:
    """A folder for pins of the test's own, which must be gone at the end."""

    def __init__(self):
        ensure_bpffs()
        self.path = os.path.join(BPFFS, "pulltap-test-" + secrets.token_hex(4))

    def names(self):
        return sorted(os.path.join(path, name) for path, _, names in os.walk(self.path)
                      for name in names)

    def close(self):
        if os.path.isdir(self.path):
            proc.run(["rm", "-rf", self.path])


def make_pod(keep, podman, image, conninfo, places=None, mounts=(), **environment):
    folder = keep(proc.Folder())
    pins = keep(PinFolder())
    settings = {"PULLTAP_BPFFS": pins.path, "PULLTAP_WINDOW": "1", "PULLTAP_HINT_TIME": "0",
                "PULLTAP_NO_DISCOVER": "yes", "PULLTAP_LOG_LEVEL": "debug", **environment}
    pod = Pod(podman, image, folder, {"state": folder.make("state"), **(places or {})},
              {("pulltap-database", "conninfo"): conninfo}, settings, mounts)
    return pod, pins


def boxed_registry(keep, podman):
    registry = keep(Registry())
    containers = RegistryContainers(podman, str(registry.binary))
    _, identity = containers.start(keep, registry)
    return registry, identity


def process_status(pid):
    with open(f"/proc/{pid}/status") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def assert_unprivileged(podman, pod):
    """The container got what the file lists; the agent in it gave all of it away."""
    inspected = json.loads(podman.run("inspect", pod.name).stdout)[0]
    listed = daemonset()["spec"]["template"]["spec"]["containers"][0]["securityContext"]
    assert sorted(inspected["EffectiveCaps"]) == sorted(
        "CAP_" + name for name in listed["capabilities"]["add"])
    assert not inspected["HostConfig"]["Privileged"]
    status = process_status(inspected["State"]["Pid"])
    assert status["Uid"].split() == ["65532"] * 4
    for name in ("CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb"):
        assert int(status[name], 16) == 0, status
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_the_image_runs_without_root_and_holds_no_compiler(podman, image):
    made = json.loads(podman.run("image", "inspect", image).stdout)[0]
    config = made["Config"]
    assert config["User"].split(":")[0] not in ("", "0", "root")
    assert config["Entrypoint"] == ["pulltap"] and config["Cmd"] == ["run"]
    assert config["StopSignal"] in ("SIGTERM", "15")
    assert config["Labels"]["org.opencontainers.image.version"] != "unknown"
    said = podman.run("run", "--rm", "--read-only", "--cap-drop", "ALL", "--network", "none",
                      image, "--version").stdout
    assert said.strip() == "pulltap " + config["Labels"]["org.opencontainers.image.version"]
    found = podman.run("run", "--rm", "--network", "none", "--entrypoint", "/bin/sh", image, "-c",
                       "command -v pulltap gcc clang make; ls -d /src; true").stdout
    assert found.split() == ["/usr/bin/pulltap"]


def test_pods_that_replace_each_other_under_load_count_every_pull_once(keep, database, podman,
                                                                       image):
    """One registry's program may be read by its owner alone, who is neither root nor the agent."""
    hosted = keep(Registry())
    os.chmod(hosted.binary, 0o700)
    os.chown(hosted.binary, 65534, 65534)
    hosted.start()
    boxed, identity = boxed_registry(keep, podman)
    registries = {"hosted": hosted, "boxed": boxed}
    names = {name: registry.fill(8, repositories=3) for name, registry in registries.items()}
    pod, pins = make_pod(
        keep, podman, image, database.conninfo(), mounts=[database.socket],
        PULLTAP_TARGET=f"hosted={hosted.binary},boxed={identity[:12]}")
    pod.start().wait_probe("readinessProbe")
    assert_unprivileged(podman, pod)

    marks = {name: registry.mark() for name, registry in registries.items()}
    with load.Trickle(hosted, load.mixed(names["hosted"]), RATE), \
            load.Trickle(boxed, load.mixed(names["boxed"]), RATE):
        for turn in range(4):
            time.sleep(1.5)
            if turn == 2:
                pod.kill()
            else:
                assert pod.stop() == 0, pod.log()[-3000:]
            time.sleep(0.5)  # nobody drains: the kernel counts on
            assert pins.names()
            pod.start().wait_probe("readinessProbe")
        time.sleep(1.5)
    logged = {}
    for name, registry in registries.items():
        registry.settle()
        logged[name] = registry.requests(marks[name])
        assert len(logged[name]) > 5 * RATE
    assert pod.log().count("adopted what counts already") == 4
    assert pod.probe("startupProbe") is True and pod.probe("livenessProbe") is True
    assert pod.stop() == 0

    assert pod.end("uninstall") == (0, "removed\n"), pod.log()[-2000:]
    assert not os.path.exists(pins.path)
    for name in registries:
        books.check(database, Truth(names[name]).feed(logged[name]), registry=name,
                    hits=sum(len(requests) for requests in logged.values()))
    assert [row["node"] for row in database.rows("select distinct node from pulltap.fleet")] == \
        ["node-1"]


def test_the_config_map_and_exec_switch_a_pod_off_and_on_again(keep, database, podman, image):
    """What is answered between the two is a gap, to the reply; the file is kubelet's way to swap."""
    registry = keep(Registry()).start()
    names = registry.fill(4)
    pod, _ = make_pod(keep, podman, image, database.conninfo(), mounts=[database.socket],
                      PULLTAP_TARGET=f"hosted={registry.binary}")
    pod.start().wait_probe("readinessProbe")
    truth, passed = Truth(names), []

    def ask(counted):
        since = registry.mark()
        load.curl(registry, [load.ask("GET", f"/v2/{repository}/manifests/{tag}")
                             for repository, tag in names] * 5)
        registry.settle()
        requests = registry.requests(since)
        if counted:
            truth.feed(requests)
            passed.append(len(requests))

    def wait_counting(expected):
        def status():
            # it ends with 1 while somebody says off
            return json.loads(pod.exec("pulltap", "status", "--output", "json",
                                       check=False).stdout)

        proc.until(lambda: status()["counting"] is expected, 30, 0.2, f"counting is {expected}")
        assert pod.probe("livenessProbe") is True and pod.probe("readinessProbe") is True

    switch = pod.volume("switch")
    ask(counted=True)
    write_volume(switch, {"counting": "off"})
    wait_counting(False)
    ask(counted=False)
    write_volume(switch, {})  # the ConfigMap was deleted
    wait_counting(True)
    ask(counted=True)
    pod.exec("pulltap", "off")
    wait_counting(False)
    ask(counted=False)
    pod.exec("pulltap", "on")
    wait_counting(True)
    ask(counted=True)
    assert pod.stop() == 0
    books.check(database, truth, registry="hosted", hits=sum(passed))
    reasons = [row["reason"] for row in database.rows(
        "select reason from pulltap.gaps where reason like 'switched off%' order by gap_start")]
    assert len(reasons) == 2, reasons
    assert "/etc/pulltap/switch/counting" in reasons[0] and "operator" in reasons[1], reasons


def test_a_pod_finds_the_registries_of_its_node_by_itself(keep, database, podman, image):
    hosted = keep(Registry()).start()
    boxed, identity = boxed_registry(keep, podman)
    pod, _ = make_pod(keep, podman, image, database.conninfo(), mounts=[database.socket])
    _, said = pod.end("doctor", "--output", "json")
    found = [check["found"] for check in json.loads(said) if check["check"] == "registry"]
    inside = podman.run("inspect", "--format", "{{.State.Pid}}", identity).stdout.strip()
    for pid in (hosted.pid, inside):
        assert [text for text in found if text.startswith(f"pid {pid} ")], found


def test_a_pod_whose_database_is_away_is_alive_and_not_ready(keep, podman, image):
    registry = keep(Registry()).start()
    registry.push(Image("waits"), "team/app", "v1")
    pod, _ = make_pod(keep, podman, image, "host=/nowhere dbname=pulltap user=agent",
                      PULLTAP_TARGET=f"hosted={registry.binary}")
    pod.start().wait_probe("livenessProbe")
    registry.resolve("team/app", "v1")

    proc.until(lambda: pod.probe("readinessProbe") is not True, 30, what="it says not ready")
    assert "windows wait in the spool (retrying)" in pod.probe("readinessProbe")
    assert pod.probe("livenessProbe") is True
    pod.kill()  # SIGTERM would give the database its ten seconds


def test_a_node_without_a_bpf_file_system_is_refused_with_the_reason(keep, podman, image, folder):
    """What a pod mounted for itself would end with it, and the counting too."""
    pod, _ = make_pod(keep, podman, image, "host=/nowhere", places={"bpf": folder.make("bpf")},
                      PULLTAP_BPFFS="/sys/fs/bpf/pulltap")
    status, said = pod.end("run")
    assert status == 1
    assert "is not on a BPF file system" in said and "on the node itself" in said
    assert os.listdir(folder / "bpf") == []
