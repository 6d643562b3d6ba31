# SPDX-License-Identifier: MIT
"""
The pod of deploy/k8s/base/daemonset.yaml, run by podman with exactly the rights that stand there:
capabilities, user, profiles, namespaces, mounts, limits and probes are read from the file. What
this module does not know it refuses, so that no right is added there without being tried here.

A test names what stands in for the cluster's part: places for the node's folders, values for the
secret. Two things differ, both to the smaller: the pod has no network at all (the database is
reached through its socket's folder, a mount more), and kubelet's part is done by the test.
"""
import os
import secrets
import signal

import yaml

from .proc import Failed, REPOSITORY_ROOT, until

BASE = os.path.join(REPOSITORY_ROOT, "deploy", "k8s", "base")
# what decides where and when a pod runs, and nothing about its rights
_PLACING = {"serviceAccountName", "automountServiceAccountToken", "enableServiceLinks",
            "priorityClassName", "nodeSelector", "tolerations", "terminationGracePeriodSeconds"}
_PROBES = {"startupProbe", "livenessProbe", "readinessProbe"}


def daemonset():
    with open(os.path.join(BASE, "daemonset.yaml")) as file:
        return yaml.safe_load(file)


def _only(what, given, known):
    unknown = set(given) - set(known)
    if unknown:
        raise Failed(f"{what}: tests/e2e/lib/pod.py does not know {sorted(unknown)}")


def write_volume(path, files):
    """
    A ConfigMap's or Secret's folder as kubelet writes it, new or again: the files in a folder of
    the time, a link ..data to it that is swapped by rename, links to ..data/FILE.
    """
    os.makedirs(path, exist_ok=True)
    fresh = "..time_" + secrets.token_hex(4)
    os.mkdir(os.path.join(path, fresh), 0o755)
    for name, text in files.items():
        with open(os.path.join(path, fresh, name), "w") as file:
            file.write(text)
    data = os.path.join(path, "..data")
    old = os.readlink(data) if os.path.islink(data) else None
    os.symlink(fresh, data + "_tmp")
    os.rename(data + "_tmp", data)
    shown = {name for name in os.listdir(path) if not name.startswith("..")}
    for name in set(files) - shown:
        os.symlink(os.path.join("..data", name), os.path.join(path, name))
    for name in shown - set(files):
        os.unlink(os.path.join(path, name))
    if old:
        for name in os.listdir(os.path.join(path, old)):
            os.unlink(os.path.join(path, old, name))
        os.rmdir(os.path.join(path, old))


class Pod:
    """
    places: {volume's name: folder} instead of the node's
    values: {(secret, key): text}
    environment: what a ConfigMap `pulltap` or an overlay would add
    mounts: further folders, the same path inside
    """

    def __init__(self, podman, image, folder, places, values=None, environment=None, mounts=(),
                 node="node-1"):
        self.podman, self.image, self.folder, self.node = podman, image, folder, node
        self.places, self.values = places, dict(values or {})
        self.environment, self.mounts = dict(environment or {}), list(mounts)
        self.log_path = folder / "pod.log"
        template = daemonset()["spec"]["template"]["spec"]
        _only("the pod", template, _PLACING | {"hostPID", "containers", "volumes"})
        self.spec = template
        if len(template["containers"]) != 1:
            raise Failed("the pod has one container")
        self.container = template["containers"][0]
        _only("the container", self.container, _PROBES | {
            "name", "image", "imagePullPolicy", "args", "env", "envFrom", "securityContext",
            "resources", "volumeMounts"})
        self.name = None
        self.process = None

    # the file's words as podman's

    def _security(self):
        context = self.container["securityContext"]
        _only("securityContext", context, {
            "privileged", "allowPrivilegeEscalation", "readOnlyRootFilesystem", "runAsUser",
            "runAsGroup", "capabilities", "seccompProfile", "appArmorProfile", "seLinuxOptions"})
        if context["privileged"] is not False:
            raise Failed("the container is privileged")
        made = ["--user", f"{context['runAsUser']}:{context['runAsGroup']}"]
        if context["allowPrivilegeEscalation"] is False:
            made += ["--security-opt", "no-new-privileges"]
        if context["readOnlyRootFilesystem"]:
            made += ["--read-only", "--read-only-tmpfs=false"]
        if context["capabilities"]["drop"] != ["ALL"]:
            raise Failed("capabilities are dropped one by one")
        made += ["--cap-drop", "ALL"]
        for capability in context["capabilities"]["add"]:
            made += ["--cap-add", capability]
        if context["seccompProfile"] == {"type": "Unconfined"}:
            made += ["--security-opt", "seccomp=unconfined"]
        elif context["seccompProfile"] != {"type": "RuntimeDefault"}:
            raise Failed(f"seccompProfile {context['seccompProfile']}")
        if context["appArmorProfile"] == {"type": "Unconfined"}:
            made += ["--security-opt", "apparmor=unconfined"]
        for name, value in context["seLinuxOptions"].items():
            made += ["--security-opt", f"label={name}:{value}"]
        return made

    def _limits(self):
        limits = self.container["resources"]["limits"]
        cpu = str(limits["cpu"])
        cpus = float(cpu[:-1]) / 1000 if cpu.endswith("m") else float(cpu)
        return ["--cpus", str(cpus), "--memory", limits["memory"].replace("Mi", "m")]

    def _environment(self):
        made = {}
        for variable in self.container["env"]:
            source = variable.get("valueFrom", {})
            _only(variable["name"], source, {"fieldRef", "secretKeyRef"})
            if "value" in variable:
                made[variable["name"]] = variable["value"]
            elif "fieldRef" in source:
                if source["fieldRef"]["fieldPath"] != "spec.nodeName":
                    raise Failed(f"{variable['name']}: {source['fieldRef']}")
                made[variable["name"]] = self.node
            else:
                key = source["secretKeyRef"]
                value = self.values.get((key["name"], key["key"]))
                if value is None and not key.get("optional"):
                    raise Failed(f"secret {key['name']} has no {key['key']}")
                if value is not None:
                    made[variable["name"]] = value
        made.update(self.environment)
        return [word for name, value in made.items() for word in ("--env", f"{name}={value}")]

    def volume(self, name):
        """The folder that stands for a volume."""
        volume = next(v for v in self.spec["volumes"] if v["name"] == name)
        if "hostPath" in volume:
            return self.places.get(name, volume["hostPath"]["path"])
        return self.folder.make("volume-" + name)

    def _volumes(self):
        made = []
        propagations = {"HostToContainer": ",rslave", None: ""}
        for mount in self.container["volumeMounts"]:
            _only("volumeMounts", mount, {"name", "mountPath", "mountPropagation", "readOnly"})
            mode = "ro" if mount.get("readOnly") else "rw"
            mode += propagations[mount.get("mountPropagation")]
            made += ["-v", f"{self.volume(mount['name'])}:{mount['mountPath']}:{mode}"]
        for path in self.mounts:
            made += ["-v", f"{path}:{path}"]
        return made

    def flags(self):
        made = ["--pid", "host"] if self.spec["hostPID"] else []
        made += ["--network", "none", "--stop-timeout",
                 str(self.spec["terminationGracePeriodSeconds"])]
        return made + self._security() + self._limits() + self._environment() + self._volumes()

    # what kubelet does with it

    def start(self, args=None):
        """A container of the pod. args: instead of the file's; a container that ends by itself."""
        self.name = "pulltap-pod-" + secrets.token_hex(4)
        self.process = self.podman.spawn(
            "run", "--rm", "--name", self.name, *self.flags(), self.image,
            *(args or self.container["args"]), stdout=self.log_path, stderr=self.log_path)
        return self

    def exec(self, *command, check=True):
        return self.podman.run("exec", self.name, *command, check=check)

    def probe(self, name):
        """True when the probe of that name succeeds, as kubelet would see it; else its words."""
        done = self.exec(*self.container[name]["exec"]["command"], check=False)
        return True if done.returncode == 0 else done.stdout + done.stderr

    def log(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def wait_probe(self, name, timeout=60):
        def succeeds():
            if not self.process.running():
                raise Failed(f"the container ended with {self.process.returncode}:\n{self.log()}")
            return self.probe(name) is True

        until(succeeds, timeout, every=0.2, what=lambda: f"{name}\n{self.log()[-3000:]}")

    def stop(self):
        """SIGTERM, and what terminationGracePeriodSeconds leaves; returns the exit status."""
        self.podman.run("stop", self.name)
        return self.process.wait(60)

    def kill(self):
        self.podman.run("kill", "--signal", str(int(signal.SIGKILL)), self.name)
        self.process.wait(60)

    def end(self, *args):
        """A container of the same pod that runs a command to its end: its status and words."""
        before = len(self.log()) if os.path.exists(self.log_path) else 0
        status = self.start(list(args)).process.wait(120)
        return status, self.log()[before:]
