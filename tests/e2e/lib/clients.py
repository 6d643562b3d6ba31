# SPDX-License-Identifier: MIT
"""
Real clients, each with storage of its own below one temporary folder and, where it needs a
daemon, one on a private socket. All speak to a Registry in the same words:

  push(registry, image, repository, tag)     store an image
  pull(registry, repository, reference)      fetch tag or digest, platform linux/amd64
  forget()                                   drop what was fetched, so that the next pull is fresh
"""
import json
import os
import shutil

import pytest

from . import proc
from .proc import Failed, Folder, Process, clean_environment, find_program, until

PLATFORM = "linux/amd64"


class Missing(Exception):
    """The client can't be had on this machine."""


def reference(registry, repository, name):
    """REPOSITORY:TAG or REPOSITORY@DIGEST with the registry's address in front."""
    return f"{registry.host}/{repository}{'@' if ':' in name else ':'}{name}"


class Client:
    name = "client"
    programs = ()
    package = ""

    def __init__(self):
        self.path = {}
        for program in self.programs:
            found = find_program(program)
            if not found:
                raise Missing(f"{program} is not installed (package {self.package})")
            self.path[program] = found
        self.folder = Folder(f"pulltap-{self.name}-")
        self._number = 0

    def private(self, argv):
        """The command in a mount namespace where writes to the machine's folders don't stay."""
        helper = os.path.join(os.path.dirname(__file__), "private.sh")
        return ["unshare", "--mount", "--propagation", "unchanged", "--", helper,
                self.folder / "private", *argv]

    def run(self, argv, **options):
        return proc.run(self.private(argv), **options)

    def fresh(self, name):
        self._number += 1
        return self.folder / f"{name}-{self._number}"

    def start(self):
        return self

    def forget(self):
        pass

    def stop(self):
        pass

    def close(self):
        self.stop()
        self.folder.close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()


class Skopeo(Client):
    name, programs, package = "skopeo", ("skopeo",), "skopeo"

    def _run(self, *arguments):
        env = clean_environment(HOME=self.folder.path, TMPDIR=self.folder.make("tmp"),
                                XDG_RUNTIME_DIR=self.folder.make("run"))
        return self.run([self.path["skopeo"], "--insecure-policy", *arguments], env=env)

    def push(self, registry, image, repository, tag):
        layout = image.write_layout(self.fresh("layout"))
        arguments = ["--dest-tls-verify=false"]
        if registry.user:
            arguments += ["--dest-creds", ":".join(registry.user)]
        self._run("copy", "--all", "--preserve-digests", *arguments, f"oci:{layout}:latest",
                  "docker://" + reference(registry, repository, tag))

    def pull(self, registry, repository, name, every_platform=False):
        arguments = ["--src-tls-verify=false"]
        if registry.user:
            arguments += ["--src-creds", ":".join(registry.user)]
        if every_platform:
            arguments += ["--all"]
        target = self.fresh("pulled")
        self._run("--override-os=linux", "--override-arch=amd64", "copy", *arguments,
                  "docker://" + reference(registry, repository, name), f"dir:{target}")
        shutil.rmtree(target)


class _Storage(Client):
    """What podman and buildah share: containers/storage in folders of our own."""

    def __init__(self):
        super().__init__()
        self.env = clean_environment(
            HOME=self.folder.path, TMPDIR=self.folder.make("tmp"),
            XDG_RUNTIME_DIR=self.folder.make("run"),
            CONTAINERS_STORAGE_CONF=self.folder.write(
                "storage.conf", f'[storage]\ndriver = "vfs"\nrunroot = "{self.folder / "r"}"\n'
                f'graphroot = "{self.folder / "g"}"\n'),
            CONTAINERS_REGISTRIES_CONF=self.folder.write(
                "registries.conf", "unqualified-search-registries = []\n"),
            REGISTRY_AUTH_FILE=self.folder.write("auth.json", "{}"))

    @property
    def _program(self):
        return [self.path[self.name]]

    def _run(self, *arguments):
        return self.run([*self._program, *arguments], env=self.env)

    @staticmethod
    def _access(registry):
        made = ["--tls-verify=false"]
        if registry.user:
            made += ["--creds", ":".join(registry.user)]
        return made

    def pull(self, registry, repository, name):
        # an explicit tag or digest is always asked for, also when the image is there
        self._run("pull", "--quiet", *self._access(registry),
                  reference(registry, repository, name))

    def push(self, registry, image, repository, tag):
        target = reference(registry, repository, tag)
        layout = image.write_layout(self.fresh("layout"))
        if image.children:
            # one run of the index keeps its digest; a list made anew would get another
            self._run("manifest", "create", "list" + str(self._number))
            self._run("manifest", "add", "--all", "list" + str(self._number),
                      f"oci:{layout}:latest")
            self._run("manifest", "push", "--all", *self._access(registry),
                      "list" + str(self._number), "docker://" + target)
            self._run("manifest", "rm", "list" + str(self._number))
        else:
            pulled = self._run("pull", "--quiet", f"oci:{layout}:latest").stdout.split()[-1]
            self._run("push", "--quiet", *self._access(registry), pulled, "docker://" + target)
        self.forget()

    def forget(self):
        self._run("rmi", "--all", "--force")


class Podman(_Storage):
    name, programs, package = "podman", ("podman",), "podman"

    @property
    def _program(self):
        return [self.path["podman"], "--cgroup-manager", "cgroupfs", "--events-backend", "none",
                "--tmpdir", self.folder / "libpod", "--log-level", "error"]


class Buildah(_Storage):
    name, programs, package = "buildah", ("buildah",), "buildah"


class Docker(Client):
    """dockerd without networks, bridges or iptables, on a socket of its own."""
    name, programs, package = "docker", ("docker", "dockerd"), "docker.io"

    def __init__(self, registry, driver=None):
        super().__init__()
        self.socket = self.folder / "docker.sock"
        self.daemon = None
        self._config = {
            "iptables": False, "ip6tables": False, "bridge": "none", "ip-forward": False,
            "ip-masq": False, "userland-proxy": False, "live-restore": False,
            "data-root": self.folder / "data", "exec-root": self.folder / "exec",
            "pidfile": self.folder / "docker.pid", "hosts": ["unix://" + self.socket],
            "insecure-registries": [registry.host], "storage-driver": driver or "vfs",
            "max-concurrent-downloads": 2, "log-level": "error",
        }

    def start(self):
        env = clean_environment(HOME=self.folder.path, TMPDIR=self.folder.make("tmp"))
        self.daemon = Process(
            self.private([self.path["dockerd"], "--config-file",
                          self.folder.write("daemon.json", json.dumps(self._config))]),
            stdout=self.folder / "log", stderr=self.folder / "log", env=env)

        def up():
            if not self.daemon.running():
                with open(self.folder / "log") as log:
                    raise Missing("dockerd does not run here: " + log.read()[-2000:])
            return os.path.exists(self.socket) and self._run("version", check=False).returncode == 0

        until(up, 60, every=0.1, what="dockerd answers")
        return self

    def _run(self, *arguments, check=True):
        env = clean_environment(HOME=self.folder.path, DOCKER_CONFIG=self.folder.make("config"))
        return self.run([self.path["docker"], "-H", "unix://" + self.socket, *arguments], env=env,
                   check=check)

    def _login(self, registry):
        if registry.user:
            self._run("login", "-u", registry.user[0], "-p", registry.user[1], registry.host)

    def push(self, registry, image, repository, tag):
        self._login(registry)
        if image.children:
            raise Failed("docker pushes single-platform images only")
        target = reference(registry, repository, tag)
        self._run("load", "-i", image.write_docker_archive(self.fresh("archive"), target))
        self._run("push", "-q", target)
        self.forget()

    def pull(self, registry, repository, name):
        self._login(registry)
        self._run("pull", "-q", reference(registry, repository, name))

    def forget(self):
        def empty():
            images = self._run("images", "-q", "-a", "--no-trunc").stdout.split()
            if images:
                self._run("rmi", "-f", *sorted(set(images)), check=False)
            return not images

        until(empty, 20, what="docker lists no images")
        # dockerd keeps manifests in its containerd's content store, where rmi ends a lease and no
        # more: they go when containerd collects its garbage, some time later. A pull that comes
        # before finds its manifest there and sends HEAD alone, as if the image were present.
        until(lambda: not self._content(), 60, what=lambda: f"{self._content()} are collected")

    def _content(self):
        return [blob for path, _, blobs in os.walk(self.folder / "data/containerd/daemon")
                if "/io.containerd.content.v1.content/blobs/" in path for blob in blobs]

    def stop(self):
        if self.daemon:
            self.daemon.close()
            self.daemon = None


class Containerd(Client):
    """containerd with a root, state and socket of its own, driven by ctr."""
    name, programs, package = "containerd", ("containerd", "ctr"), "containerd"

    def __init__(self):
        super().__init__()
        self.socket = self.folder / "c.sock"
        self.daemon = None
        self._config = f"""version = 2
root = "{self.folder / "root"}"
state = "{self.folder / "state"}"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs",
 "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs",
 "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt"]
[grpc]
  address = "{self.socket}"
[debug]
  level = "error"
"""

    def start(self):
        self.daemon = Process(
            self.private([self.path["containerd"], "-c",
                          self.folder.write("config.toml", self._config)]),
            stdout=self.folder / "log", stderr=self.folder / "log")

        def up():
            if not self.daemon.running():
                with open(self.folder / "log") as log:
                    raise Missing("containerd does not run here: " + log.read()[-2000:])
            return os.path.exists(self.socket) and self._run("version", check=False).returncode == 0

        until(up, 60, every=0.1, what="containerd answers")
        return self

    def _run(self, *arguments, check=True):
        return self.run([self.path["ctr"], "-a", self.socket, *arguments], check=check)

    def _access(self, registry):
        made = ["--plain-http"]
        if registry.tls:  # on loopback only a hosts file makes it speak TLS
            hosts = self.folder.make("hosts")
            self.folder.make("hosts/" + registry.host)
            self.folder.write(f"hosts/{registry.host}/hosts.toml",
                              f'server = "{registry.url}"\n[host."{registry.url}"]\n'
                              f'  ca = "{registry.ca}"\n')
            made = ["--hosts-dir", hosts]
        if registry.user:
            made += ["--user", ":".join(registry.user)]
        return made

    def push(self, registry, image, repository, tag):
        target = reference(registry, repository, tag)
        archive = image.write_layout_tar(self.fresh("archive"), self.fresh("layout"), target)
        self._run("images", "import", "--all-platforms", archive)
        platforms = [] if image.children else ["--platform", image.platforms[0]]
        self._run("images", "push", *platforms, *self._access(registry), target)
        self.forget()

    def pull(self, registry, repository, name):
        self._run("images", "pull", "--platform", PLATFORM, "--snapshotter", "native",
                  *self._access(registry), reference(registry, repository, name))

    def forget(self):
        images = self._run("images", "list", "-q").stdout.split()
        if images:
            self._run("images", "rm", "--sync", *images)
        self._run("content", "prune", "references", check=False)

    def stop(self):
        if self.daemon:
            self.daemon.close()
            self.daemon = None


CLIENTS = {"skopeo": Skopeo, "podman": Podman, "buildah": Buildah, "docker": Docker,
           "containerd": Containerd}


def client(name, registry, **options):
    """A started client, or the test's end: skipped with the reason, failed where CI=true."""
    made = None
    try:
        if name == "docker":
            made = Docker(registry, **options)
        else:
            made = CLIENTS[name](**options)
        return made.start()
    except Missing as reason:
        if made:
            made.close()
        if proc.CI:
            pytest.fail(f"{name}: {reason}")
        pytest.skip(f"{name}: {reason}")
