# SPDX-License-Identifier: MIT
"""
pulltap's image and containers, by buildah and podman with stores of their own. The image is built
from this tree as anybody would build it, on a Debian that debootstrap made, because the tests
reach no image registry; base and layers are kept in build/cache.
"""
import fcntl
import os
import secrets
import shutil

from .proc import (Folder, Process, REPOSITORY_ROOT, clean_environment, find_program, run,
                   unmount_below, until)

CACHE = os.path.join(REPOSITORY_ROOT, "build", "cache")
STORE = os.path.join(CACHE, "containers")
BASE = "docker.io/library/debian:12-slim"
IMAGE = "localhost/pulltap:test"
# every build of another tree leaves its layers; so many and the store is begun anew
LEFTOVERS = 12
# what apt needs to know about this machine's mirror, lent to the build and never in the image
APT = ["/etc/apt/sources.list", "/etc/apt/sources.list.d", "/etc/apt/trusted.gpg.d",
       "/etc/apt/keyrings", "/etc/apt/auth.conf.d", "/usr/share/keyrings", "/etc/ssl/certs",
       "/usr/share/ca-certificates", "/usr/local/share/ca-certificates"]


class Builder:
    """buildah on the kept store, its run-time files in a folder that goes."""

    def __init__(self, folder):
        self.buildah = [find_program("buildah") or "buildah", "--root", STORE, "--runroot",
                        folder.make("buildah"), "--storage-driver", "overlay"]
        self._apt = [mount for path in APT if os.path.exists(path)
                     for mount in ("--volume", f"{path}:{path}:ro")]
        # a mirror behind a proxy is reached as from here
        options = [line for line in run(["apt-config", "dump"]).stdout.splitlines()
                   if line.startswith("Acquire::http")]
        conf = folder.write("apt.conf", "\n".join(options) + "\n")
        self._apt += ["--volume", f"{conf}:/etc/apt/apt.conf.d/99machine:ro"]

    def _run(self, *arguments, timeout=120):
        return run(["nice", *self.buildah, *arguments], timeout=timeout,
                   env=clean_environment(TMPDIR="/tmp"))

    def images(self):
        return self._run("images", "--quiet", "--no-trunc").stdout.split()

    def _names(self):
        return self._run("images", "--format", "{{.Name}}:{{.Tag}}").stdout.split()

    def _make_base(self):
        archive = os.path.join(CACHE, "debian-12-slim.tar")
        run([os.path.join(REPOSITORY_ROOT, "deploy", "container", "base.sh"), archive],
            timeout=580)
        container = self._run("from", "scratch").stdout.strip()
        self._run("add", container, archive, "/")
        self._run("commit", "--quiet", "--rm", container, BASE)

    def close(self):
        """What a build that failed has left mounted."""
        self._run("rm", "--all")
        unmount_below(STORE)

    def build(self):
        with open(os.path.join(REPOSITORY_ROOT, "VERSION")) as version:
            argument = "VERSION=" + version.read().strip()
        if BASE not in self._names():
            self._make_base()
        self._run("bud", "--isolation", "chroot", "--pull-never", "--layers", *self._apt,
                  "--build-arg", argument, "--tag", IMAGE, "--file",
                  os.path.join(REPOSITORY_ROOT, "deploy", "container", "Containerfile"),
                  REPOSITORY_ROOT, timeout=580)


def build_image():
    """Builds IMAGE, or what of it changed."""
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(CACHE, "containers.lock"), "w") as lock, Folder() as folder:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.makedirs(STORE, exist_ok=True)
        builder = Builder(folder)
        try:
            if len(builder.images()) > LEFTOVERS:
                builder.close()
                shutil.rmtree(STORE)
            builder.build()
        finally:
            builder.close()
    return IMAGE


class Podman:
    """podman with a store of its own that also sees the images of the kept one."""

    def __init__(self):
        self.folder = Folder("pulltap-podman-")
        self._spawned = []
        kept = ["--storage-opt", "overlay.imagestore=" + STORE] if os.path.isdir(STORE) else []
        self.argv = [find_program("podman") or "podman", "--runtime", "runc", "--cgroup-manager",
                     "cgroupfs", "--events-backend", "none", "--storage-driver", "overlay", *kept,
                     "--root", self.folder.make("store"), "--runroot", self.folder.make("run"),
                     "--tmpdir", self.folder.make("tmp"), "--log-level", "error"]
        # the runtime's default limits may be above this machine's own
        self.env = clean_environment(CONTAINERS_CONF=self.folder.write(
            "containers.conf", '[containers]\ndefault_ulimits = ["nofile=20000:20000", '
            '"nproc=32768:32768"]\n'))

    def run(self, *arguments, **options):
        return run([*self.argv, *arguments], env=self.env, **options)

    def spawn(self, *arguments, stdout, stderr):
        self._spawned.append(Process([*self.argv, *arguments], stdout=stdout, stderr=stderr,
                                     env=self.env))
        return self._spawned[-1]

    def _remove(self):
        try:
            self.folder.close()
        except OSError:
            return False
        return True

    def close(self):
        self.run("rm", "--all", "--force", "--time", "2", check=False)
        for process in self._spawned:
            process.close()
        # the container's monitor starts a podman of its own that tidies up after it
        until(self._remove, 20, 0.2, f"{self.folder.path} is removed")


class RegistryContainers:
    """Containers of one image that holds a docker-registry and nothing else."""

    def __init__(self, podman, binary):
        self.podman = podman
        self.image = "localhost/registry-" + secrets.token_hex(4)
        root = podman.folder.make("registry-image")
        libraries = [word for word in run(["ldd", binary]).stdout.split() if word[0] == "/"]
        for source, target in [(path, path) for path in libraries] + [(binary, "/bin/registry")]:
            os.makedirs(os.path.dirname(root + target), exist_ok=True)
            shutil.copy(source, root + target)
        os.makedirs(root + "/tmp")
        archive = podman.folder / "image.tar"
        run(["tar", "-C", root, "-cf", archive, "."])
        podman.run("import", archive, self.image)

    def start(self, keep, registry):
        """The registry's own configuration, storage and log, in a container: its name and id."""
        name = "pulltap-" + secrets.token_hex(4)
        place = str(registry.folder.path)
        keep(self.podman.spawn("run", "--rm", "--name", name, "--network", "host",
                               "-v", f"{place}:{place}", self.image, "/bin/registry", "serve",
                               registry._config, stdout=registry.log_path,
                               stderr=registry.error_path))
        registry.wait_http()
        return name, self.podman.run("inspect", "--format", "{{.Id}}", name).stdout.strip()

    def stop(self, name):
        self.podman.run("stop", "-t", "2", name)
