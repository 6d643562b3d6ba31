# SPDX-License-Identifier: MIT
"""
Tiny images made here, without any network: one layer of a few hundred bytes, one platform or
several, as blobs and manifests in memory and as an OCI layout or docker archive on disk.
"""
import gzip
import hashlib
import io
import json
import os
import tarfile

OCI = {
    "manifest": "application/vnd.oci.image.manifest.v1+json",
    "index": "application/vnd.oci.image.index.v1+json",
    "config": "application/vnd.oci.image.config.v1+json",
    "layer": "application/vnd.oci.image.layer.v1.tar+gzip",
}
DOCKER = {
    "manifest": "application/vnd.docker.distribution.manifest.v2+json",
    "index": "application/vnd.docker.distribution.manifest.list.v2+json",
    "config": "application/vnd.docker.container.image.v1+json",
    "layer": "application/vnd.docker.image.rootfs.diff.tar.gzip",
}
ACCEPT = ", ".join(types[kind] for kind in ("manifest", "index") for types in (OCI, DOCKER))


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _encode(value):
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _layer(text):
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        info = tarfile.TarInfo("content")
        data = text.encode()
        info.size = len(data)
        info.mode = 0o644
        tar.addfile(info, io.BytesIO(data))
    return plain.getvalue(), gzip.compress(plain.getvalue(), mtime=0)


class Image:
    """
    An image named by its seed: the same seed and platforms make the same digests.

    manifest, digest, type: what a tag names (an index when there are several platforms)
    children: {platform: (digest, bytes)}, empty for a single-platform image
    blobs: {digest: bytes} of configs and layers
    """

    def __init__(self, seed, platforms=("linux/amd64",), types=OCI, force_index=False):
        self.seed = seed
        self.types = types
        self.blobs = {}
        self.children = {}
        self.platforms = tuple(platforms)
        self._archive = None
        made = [(platform, *self._manifest(platform)) for platform in platforms]
        if len(made) == 1 and not force_index:
            _, self.digest, self.manifest = made[0]
            self.type = types["manifest"]
        else:
            self.children = {platform: (digest, data) for platform, digest, data in made}
            self.manifest = _encode({
                "schemaVersion": 2,
                "mediaType": types["index"],
                "manifests": [self._descriptor(types["manifest"], digest, data, platform)
                              for platform, digest, data in made],
            })
            self.digest = digest_of(self.manifest)
            self.type = types["index"]

    @staticmethod
    def _descriptor(kind, digest, data, platform=None):
        made = {"mediaType": kind, "digest": digest, "size": len(data)}
        if platform:
            system, architecture = platform.split("/")
            made["platform"] = {"os": system, "architecture": architecture}
        return made

    def _manifest(self, platform):
        system, architecture = platform.split("/")
        plain, packed = _layer(f"{self.seed} for {platform}\n")
        config = _encode({
            "os": system, "architecture": architecture, "created": "2020-01-01T00:00:00Z",
            "config": {"Cmd": ["/content"]},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(plain)]},
            "history": [{"created": "2020-01-01T00:00:00Z", "created_by": str(self.seed)}],
        })
        if self._archive is None:
            self._archive = (config, plain)
        config_digest, layer_digest = digest_of(config), digest_of(packed)
        self.blobs[config_digest] = config
        self.blobs[layer_digest] = packed
        manifest = _encode({
            "schemaVersion": 2,
            "mediaType": self.types["manifest"],
            "config": self._descriptor(self.types["config"], config_digest, config),
            "layers": [self._descriptor(self.types["layer"], layer_digest, packed)],
        })
        return digest_of(manifest), manifest

    def write_layout(self, folder, name="latest"):
        """Writes an OCI layout that names the image; returns its path."""
        blobs = os.path.join(folder, "blobs", "sha256")
        os.makedirs(blobs, exist_ok=True)
        everything = dict(self.blobs)
        everything[self.digest] = self.manifest
        everything.update(self.children.values())
        for digest, data in everything.items():
            with open(os.path.join(blobs, digest.split(":")[1]), "wb") as out:
                out.write(data)
        entry = {"mediaType": self.type, "digest": self.digest, "size": len(self.manifest),
                 "annotations": {"org.opencontainers.image.ref.name": name,
                                 "io.containerd.image.name": name}}
        with open(os.path.join(folder, "index.json"), "wb") as out:
            out.write(_encode({"schemaVersion": 2, "manifests": [entry]}))
        with open(os.path.join(folder, "oci-layout"), "wb") as out:
            out.write(_encode({"imageLayoutVersion": "1.0.0"}))
        return folder

    def write_layout_tar(self, path, folder, name):
        """The same as one tar file, as ctr imports it."""
        self.write_layout(folder, name)
        with tarfile.open(path, "w") as tar:
            for entry in ("oci-layout", "index.json", "blobs"):
                tar.add(os.path.join(folder, entry), entry)
        return path

    def write_docker_archive(self, path, name):
        """The first platform as `docker load` reads it."""
        config, plain = self._archive
        files = {
            hashlib.sha256(config).hexdigest() + ".json": config,
            "layer/layer.tar": plain,
        }
        files["manifest.json"] = _encode([{
            "Config": hashlib.sha256(config).hexdigest() + ".json",
            "RepoTags": [name], "Layers": ["layer/layer.tar"]}])
        with tarfile.open(path, "w") as tar:
            for file, data in files.items():
                info = tarfile.TarInfo(file)
                info.size = len(data)
                info.mode = 0o644
                tar.addfile(info, io.BytesIO(data))
        return path
