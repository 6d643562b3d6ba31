# SPDX-License-Identifier: MIT
"""Who does not count: rules over a real registry, their counters, and a file that changes."""
import os
import signal

import pytest

from lib import books
from lib.agent import Agent, pulltap
from lib.clients import client
from lib.images import DOCKER, Image
from lib.registry import Registry

pytestmark = pytest.mark.needs_pulltap

TRIVY, ANOTHER = {"User-Agent": "trivy/0.50"}, {"User-Agent": "docker/27.0 go/1.22"}


@pytest.fixture
def registry(keep):
    return keep(Registry()).start()


def rules_of(database):
    return {row["rule"]: row["excluded"] for row in database.rows("select * from pulltap.rules")}


def tag_of(database, repository, tag):
    row, = database.rows(f"select * from pulltap.tags where repository = '{repository}' "
                         f"and tag = '{tag}'")
    return row


def watch(keep, registry, database, folder, text, *arguments, **options):
    path = folder.write("rules", text)
    agent = keep(Agent(database.conninfo(), registry.pid,
                       arguments=["--rules", path, *arguments], **options))
    return agent.start(), path


def test_every_condition_excludes_what_it_names_and_nothing_else(keep, registry, database, folder):
    image = Image("rules")
    for repository in ("team/app", "mirror/app", "team/mirror"):
        registry.push(image, repository, "v1", "sha256-00.sig")
    agent, _ = watch(keep, registry, database, folder, """
# what a scanner asks for
exclude scanner user-agent=trivy*
exclude scanner user-agent="*Security Scan*"
exclude signatures reference=sha256-*
exclude mirror repository=mirror/* peer=127.0.0.8/30
exclude both user-agent=*end reference=v1 peer=127.0.1.1
""", hint=60)
    send = registry.send
    expected = {"scanner": 0, "signatures": 0, "mirror": 0, "both": 0}

    for method in ("GET", "HEAD"):
        send(method, "team/app", "v1", **TRIVY)
        send(method, "team/app", image.digest, **TRIVY)
        send(method, "team/app", "v1", **{"User-Agent": "The Security Scan 1"})
        expected["scanner"] += 3
        send(method, "team/app", "sha256-00.sig", **ANOTHER)
        expected["signatures"] += 1
        send(method, "mirror/app", "v1", "127.0.0.10", **ANOTHER)
        expected["mirror"] += 1
        send(method, "team/app", "v1", "127.0.1.1", **{"User-Agent": "the end"})
        expected["both"] += 1
        # one condition of each does not hold
        for repository, name, peer, agent_name in (
                ("team/app", "v1", "127.0.0.1", "a trivy"),
                ("team/app", "v1", "127.0.0.1", "the security scan"),
                ("team/mirror", "v1", "127.0.0.10", "docker"),
                ("mirror/app", "v1", "127.0.0.12", "docker"),
                ("mirror/app", "v1", "127.0.0.7", "docker"),
                ("team/app", "v1", "127.0.1.1", "the ends"),
                ("team/app", "v1", "127.0.1.2", "the end"),
                ("team/app", image.digest, "127.0.1.1", "the end")):
            send(method, repository, name, peer, **{"User-Agent": agent_name})
    registry.settle()
    agent.stop()

    assert rules_of(database) == expected
    row = tag_of(database, "team/app", "v1")
    # by tag, of four clients: a check and a pull each
    assert (row["pulls"], row["checks"], row["excluded"]) == (4, 4, 2 * 3)
    assert row["last_excluded"] > row["observed_since"]
    row = tag_of(database, "mirror/app", "v1")
    assert (row["pulls"], row["checks"], row["excluded"]) == (2, 2, 2)
    row = tag_of(database, "team/app", "sha256-00.sig")
    assert (row["pulls"], row["checks"], row["excluded"], row["last_used"]) == (0, 0, 2, None)
    manifests = {row["repository"]: row for row in database.rows("select * from pulltap.manifests")}
    assert manifests["team/app"]["excluded"] == 2 * 5
    assert manifests["team/mirror"]["excluded"] == 0
    assert database.value("select sum(excluded) from pulltap.manifests") == sum(expected.values())
    books.check_windows(database)
    excluded = database.value("select sum((counters ->> 'filtered_excluded')::int) "
                              "from pulltap.window_account")
    assert excluded == sum(expected.values())


def test_excluded_head_leaves_no_hint_and_excluded_get_takes_none(keep, registry, database,
                                                                  folder):
    image = Image("hints")
    registry.push(image, "team/app", "v1")
    agent, _ = watch(keep, registry, database, folder, "exclude scanner user-agent=trivy*\n",
                     hint=60)
    registry.send("HEAD", "team/app", "v1", **TRIVY)
    registry.send("GET", "team/app", image.digest, **ANOTHER)
    registry.send("HEAD", "team/app", "v1", **ANOTHER)
    registry.send("GET", "team/app", image.digest, **TRIVY)
    registry.send("GET", "team/app", image.digest, **ANOTHER)
    registry.settle()
    agent.stop()
    row = tag_of(database, "team/app", "v1")
    assert (row["pulls"], row["checks"], row["excluded"]) == (1, 0, 1)
    row, = database.rows("select * from pulltap.manifests")
    assert (row["pulls"], row["checks"], row["excluded"]) == (2, 0, 2)


def test_pushes_and_deletes_are_history_whoever_does_them(keep, registry, database, folder):
    agent, _ = watch(keep, registry, database, folder, "exclude all peer=0.0.0.0/0\n")
    image = Image("pushed")
    registry.push(image, "team/app", "v1")
    registry.send("GET", "team/app", "v1")
    connection = registry.connect()
    registry.ask(connection, "DELETE", f"/v2/team/app/manifests/{image.digest}")
    connection.close()
    registry.settle()
    agent.stop()
    row = tag_of(database, "team/app", "v1")
    assert (row["pulls"], row["pushes"], row["excluded"]) == (0, 1, 1)
    assert database.value("select count(*) from pulltap.tag_history") == 1
    assert database.value("select last_delete is not null from pulltap.manifests")


def test_changed_file_holds_after_a_signal_and_loads_nothing_anew(keep, registry, database, folder):
    registry.push(Image("changed"), "team/app", "v1")
    agent, path = watch(keep, registry, database, folder, "exclude first user-agent=trivy*\n")
    pins = sorted(os.listdir(agent.bpffs))
    registry.send("GET", "team/app", "v1", **TRIVY)

    folder.write("rules", "exclude second user-agent=trivy*\n")
    os.kill(agent.pid, signal.SIGHUP)
    agent.wait_log("rules read")
    registry.send("GET", "team/app", "v1", **TRIVY)
    folder.write("rules", "exclude broken colour=blue\n")
    os.kill(agent.pid, signal.SIGHUP)
    agent.wait_log("the rules can't be read again, the former ones hold")
    event, = agent.events("the rules can't be read again, the former ones hold")
    assert event["error"].startswith("line 1: colour=blue: no such condition")
    registry.send("GET", "team/app", "v1", **TRIVY)
    registry.settle()
    agent.pause()

    folder.write("rules", "exclude third user-agent=trivy*\n")
    registry.send("GET", "team/app", "v1", **TRIVY)  # no agent runs: the rules in use still hold
    registry.settle()
    agent.start()
    assert agent.events("adopted what counts already")
    assert sorted(os.listdir(agent.bpffs)) == pins
    registry.send("GET", "team/app", "v1", **TRIVY)
    registry.settle()
    agent.stop()
    assert rules_of(database) == {"first": 1, "second": 3, "third": 1}
    assert tag_of(database, "team/app", "v1")["pulls"] == 0


def test_rules_gone_at_the_next_start_exclude_nothing_any_more(keep, registry, database, folder):
    registry.push(Image("gone"), "team/app", "v1")
    agent, path = watch(keep, registry, database, folder, "exclude first user-agent=trivy*\n")
    registry.send("GET", "team/app", "v1", **TRIVY)
    registry.settle()
    agent.pause()
    folder.write("rules", "# none\n")
    agent.start()
    registry.send("GET", "team/app", "v1", **TRIVY)
    registry.settle()
    agent.stop()
    row = tag_of(database, "team/app", "v1")
    assert (row["pulls"], row["excluded"]) == (1, 1)


@pytest.mark.parametrize("text, words", [
    ("\nexclude\n", "line 2: exclude: a rule's name is"),
    ("exclude " + "n" * 32 + " peer=::1\n", "line 1: " + "n" * 32 + ": a rule's name is"),
    ("include x peer=::1", "line 1: include: a rule begins with exclude"),
    ("exclude x", "line 1: x: a rule needs a condition"),
    ("exclude x peer=10.0.0.0/40", "line 1: peer=10.0.0.0/40: must be an address or a network"),
    ("exclude x peer=10.0.0.1/8", "without bits set behind its prefix"),
    ("exclude x repository=a*b", "with a * at the beginning or the end only"),
    ("exclude x repository=*a*", "a * at both ends is for user-agent only"),
    ("exclude x user-agent=*", "a condition that holds for everything is left out"),
    ("exclude x user-agent=" + "a" * 73, "must be 1 to 72 bytes"),
    ("exclude x peer=::1 peer=::2", "this condition stands in the rule already"),
    ("exclude x peer=::1\n" * 33, "line 33: x: there may be 32 rules"),
])
def test_wrong_file_ends_the_start_with_its_line(keep, folder, text, words):
    path = folder.write("rules", text)
    done = pulltap("run", "--rules", path, "--no-discover", "--state-dir", folder / "state",
                   "--bpffs", "/sys/fs/bpf/pulltap-test-rules", check=False)
    assert done.returncode == 1
    assert words in done.stderr and path in done.stderr
    assert not os.path.exists("/sys/fs/bpf/pulltap-test-rules")


def test_missing_file_ends_the_start_with_its_name(folder):
    done = pulltap("run", "--rules", folder / "none", "--no-discover", "--state-dir",
                   folder / "state", "--bpffs", "/sys/fs/bpf/pulltap-test-rules", check=False)
    assert done.returncode == 1
    assert f"--rules {folder / 'none'}: No such file" in done.stderr


@pytest.mark.parametrize("name", ["docker", "containerd", "podman", "skopeo", "buildah"])
def test_real_client_is_known_by_its_name(keep, registry, database, name):
    registry.push(Image("known", types=DOCKER), "team/app", "v1")
    agent = keep(Agent(database.conninfo(), registry.pid, hint=60, arguments=["--clients"])).start()
    keep(client(name, registry)).pull(registry, "team/app", "v1")
    registry.settle()
    agents = {request.agent for request in registry.requests() if "/manifests/" in request.uri}
    agent.stop()
    rows = database.rows("select client, pulls, checks from pulltap.clients")
    assert rows == [{"client": name, "pulls": 1, "checks": 0}], agents
