# SPDX-License-Identifier: MIT
"""
The demo behind `make demo`. It uses the parts that the end-to-end tests use: processes are ended by
pid, folders, pins and mounts go, whatever way it ends.
"""
import os
import shlex
import sys
import time

sys.dont_write_bytecode = True
ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), ".."))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))

from lib import proc  # noqa: E402
from lib.agent import BINARY, Agent  # noqa: E402
from lib.clients import CLIENTS, Docker, Missing  # noqa: E402
from lib.images import Image  # noqa: E402
from lib.registry import Registry  # noqa: E402
from lib.truth import Truth  # noqa: E402

TERMINAL = sys.stdout.isatty()
HINT_SECONDS = 300


def say(text=""):
    print(text, flush=True)


def show(agent, command, *arguments, wants_pins=False):
    """Runs a command of pulltap and prints it as a person would type it, with its output."""
    options = ["--state-dir", agent.state, *(["--bpffs", agent.bpffs] if wants_pins else [])]
    say("$ " + shlex.join(["pulltap", command, *arguments]))
    say(proc.run([BINARY, command, *arguments, *options]).stdout)


def rows(agent):
    """Totals of every tag and manifest, by the program's own JSON."""
    import json
    tags, manifests = [], []
    for repository in ("library/app", "team/tools/multi", "nobody/unused"):
        done = proc.run([BINARY, "ls", repository, "--output", "json", "--state-dir",
                         agent.state], check=False)
        if done.returncode == 0:
            found = json.loads(done.stdout)
            tags += found["tags"]
            manifests += found["manifests"]
    return tags, manifests


def start_clients(registry):
    started = []
    for name, kind in CLIENTS.items():
        if name == "buildah":  # pulls as podman does
            continue
        try:
            made = kind(registry) if kind is Docker else kind()
            started.append(made.start())
        except Missing as reason:
            say(f"  {name} is left out: {reason}")
    return started


def pulls(clients, registry, images):
    """Every client: a tag, a digest, an image of several platforms, and the first one again."""
    app, multi = images
    for client in clients:
        say(f"  {client.name}: library/app:v1, library/app@{app.digest[:15]}..., "
            "team/tools/multi:latest, library/app:v1 again")
        client.pull(registry, "library/app", "v1")
        client.pull(registry, "library/app", app.digest)
        client.pull(registry, "team/tools/multi", "latest")
        client.pull(registry, "library/app", "v1")


def main():
    proc.end_on_signal()
    say("Starting a registry (docker-registry) and pulltap with a private PostgreSQL ...")
    registry = Registry().start()
    images = Image("app"), Image("multi", ("linux/amd64", "linux/arm64"))
    agent = Agent(None, registry.binary, "demo", window=2, hint=HINT_SECONDS,
                  arguments=["--log-level", "info"])
    agent.start()

    say("Pushing three images ...")
    clients = start_clients(registry)
    if not clients:
        raise proc.Failed("no client could be installed")
    registry.push(images[0], "library/app", "v1", "latest")
    registry.push(images[1], "team/tools/multi", "latest")
    registry.push(Image("unused"), "nobody/unused", "old")
    since = registry.mark()
    say("Pulling them:")
    pulls(clients, registry, images)
    registry.settle()

    truth = Truth(registry.names(), hints=True).feed(registry.requests(since))
    differences = ["not asked yet"]
    end = time.monotonic() + 30
    while differences and time.monotonic() < end:
        time.sleep(0.5)
        differences = truth.differences(*rows(agent))
    say()
    show(agent, "ls")
    show(agent, "ls", "library/app")
    show(agent, "status", wants_pins=True)

    said = (f"The registry's access log says {truth.pulls} pulls and {truth.checks} checks of "
            f"manifests; pulltap says ")
    if differences:
        say(said + "otherwise:\n  " + "\n  ".join(differences))
        return 1
    say(said + "the same, for every tag and every digest.")
    if TERMINAL:
        say(f"""
Pull something yourself, for example
  skopeo copy --src-tls-verify=false docker://{registry.host}/library/app:latest dir:/tmp/app
and watch it live in another terminal:
  sudo {BINARY} top --bpffs {agent.bpffs}
  sudo {BINARY} ls library/app --state-dir {agent.state}
Ctrl-C ends the demo and removes everything.""")
        while True:
            time.sleep(3600)
    return 0


if __name__ == "__main__":
    try:
        status = main()
    except KeyboardInterrupt:
        say("\nStopping ...")
        status = 0
    except (proc.Failed, AssertionError) as error:
        say(f"demo: {error}")
        status = 1
    # a second Ctrl-C must not leave anything behind
    import signal
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    proc.close_all()
    sys.exit(status)
