# SPDX-License-Identifier: MIT
"""
deploy/k8s as kubectl renders it, held against Kubernetes' own types: a misspelt field, a wrong type
or a missing value fails here. No cluster is needed, and none is tried.
"""
import json
import os
import shutil

import pytest
import yaml

from lib import proc
from lib.proc import Failed, REPOSITORY_ROOT, clean_environment, find_program, run

K8S = os.path.join(REPOSITORY_ROOT, "deploy", "k8s")
# where each kind's type is found; a kind that is not here fails the test
TYPES = {"Namespace": "v1", "ServiceAccount": "v1", "ConfigMap": "v1",
         "PriorityClass": "scheduling.k8s.io/v1", "DaemonSet": "apps/v1"}
PACKAGES = ["kubernetes-models@5.1.0", "typescript@5.9.3"]


@pytest.fixture(scope="module")
def kubectl():
    found = find_program("kubectl")
    if not found:
        pytest.fail("kubectl is not installed") if proc.CI else \
            pytest.skip("kubectl is not installed")
    return found


@pytest.fixture(scope="module")
def types():
    """The types as npm packages, in build/cache."""
    place = os.path.join(REPOSITORY_ROOT, "build", "cache", "k8s-types")
    if not os.path.exists(os.path.join(place, "node_modules", "typescript", "bin", "tsc")):
        if not find_program("npm"):
            pytest.fail("npm is not installed") if proc.CI else pytest.skip("npm is not installed")
        os.makedirs(place, exist_ok=True)
        run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", place,
             *PACKAGES], timeout=300, env=dict(os.environ))
    return place


def render(kubectl, name):
    """Debian 12's kubectl (1.20) knows a folder of resources by its older name alone."""
    with proc.Folder("pulltap-k8s-") as folder:
        shutil.copytree(K8S, folder / "k8s")
        path = os.path.join(folder / "k8s", name)
        done = run([kubectl, "kustomize", path], check=False)
        if "must be a file" in done.stderr:
            with open(os.path.join(path, "kustomization.yaml"), "r+") as file:
                text = file.read().replace("resources:\n  - ../base", "bases:\n  - ../base")
                file.seek(0)
                file.truncate()
                file.write(text)
            done = run([kubectl, "kustomize", path])
    if done.returncode:
        raise Failed(done.stdout + done.stderr)
    return list(yaml.safe_load_all(done.stdout))


def of_kind(objects, kind):
    found = [one for one in objects if one["kind"] == kind]
    assert len(found) == 1, [one["kind"] for one in objects]
    return found[0]


def check_types(types, folder, objects):
    """Each object as a literal of its type: TypeScript refuses unknown names in literals."""
    kinds = sorted({one["kind"] for one in objects})
    lines = [f'import type {{ I{kind} }} from "kubernetes-models/{TYPES[kind]}/{kind}";'
             for kind in kinds]
    lines += [f"export const o{number}: I{one['kind']} = {json.dumps(one)};"
              for number, one in enumerate(objects)]
    folder.write("objects.ts", "\n".join(lines) + "\n")
    link = folder / "node_modules"
    if not os.path.islink(link):
        os.symlink(os.path.join(types, "node_modules"), link)
    done = run(["node", os.path.join(link, "typescript", "bin", "tsc"), "--noEmit", "--strict",
                "--skipLibCheck", "--module", "nodenext", "--moduleResolution", "nodenext",
                folder / "objects.ts"], check=False, env=clean_environment(PATH=os.environ["PATH"]))
    if done.returncode:
        raise Failed(done.stdout + done.stderr)


@pytest.mark.parametrize("name", ["base", "example"])
def test_the_manifests_are_what_kubernetes_takes(kubectl, types, folder, name):
    check_types(types, folder, render(kubectl, name))


def test_a_misspelt_field_is_not_taken(kubectl, types, folder):
    objects = render(kubectl, "base")
    of_kind(objects, "DaemonSet")["spec"]["template"]["spec"]["hostPid"] = True
    with pytest.raises(Failed, match="hostPid"):
        check_types(types, folder, objects)


def test_the_example_names_one_image_and_its_settings(kubectl):
    objects = render(kubectl, "example")
    assert {one["metadata"].get("namespace", "pulltap") for one in objects} == {"pulltap"}
    container = of_kind(objects, "DaemonSet")["spec"]["template"]["spec"]["containers"][0]
    with open(os.path.join(REPOSITORY_ROOT, "VERSION")) as version:
        assert container["image"].endswith("/pulltap:" + version.read().strip())
    settings = of_kind(objects, "ConfigMap")
    assert container["envFrom"][0]["configMapRef"]["name"] == settings["metadata"]["name"]
    assert all(name.startswith("PULLTAP_") for name in settings["data"])


def test_the_uninstall_patch_turns_the_pods_into_uninstallers(kubectl, types, folder):
    objects = render(kubectl, "example")
    before = of_kind(objects, "DaemonSet")
    path = folder.write("daemonset.json", json.dumps(before))
    after = json.loads(run([kubectl, "patch", "--local", "--filename", path, "--patch-file",
                            os.path.join(K8S, "uninstall.yaml"), "--output", "json"]).stdout)
    check_types(types, folder, [after])
    old, new = (one["spec"]["template"]["spec"]["containers"][0] for one in (before, after))
    assert new.pop("args") == ["uninstall"]
    assert {name: value for name, value in old.items()
            if name != "args" and not name.endswith("Probe")} == new
    assert after["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] == "100%"
