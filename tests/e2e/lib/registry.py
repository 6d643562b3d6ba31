# SPDX-License-Identifier: MIT
"""
A real docker-registry on a free loopback port with storage, certificates and access log of its
own. It runs from a copy of the binary: probes belong to a file, so nobody else's registry is
counted here and nobody else's agent counts this one.

The access log is the truth that the tests compare with. One line per reply, written when the
handler returned; settle() waits until the log holds every request it was told about.
"""
import base64
import http.client
import json
import os
import re
import shutil
import ssl
from collections import namedtuple

from . import images
from .proc import (Failed, Folder, Process, at_rest, find_program, free_port, listening, run,
                   until)

Request = namedtuple("Request", "remote method uri status proto agent")

_LINE = re.compile(
    rb'^(\S+) - (\S+) \[([^\]]+)\] "(\S+) (.*) (HTTP/[0-9.]+)" (\d{3}) (\d+) '
    rb'"((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)"$', re.DOTALL)
_ESCAPE = re.compile(rb'\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)', re.DOTALL)
_PLAIN = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t",
          b"v": b"\v"}


def _unescape(text):
    def one(match):
        code = match.group(1)
        if code[:1] == b"x":
            return bytes([int(code[1:], 16)])
        if code[:1] in b"uU" and len(code) > 1:
            return chr(int(code[1:], 16)).encode()
        return _PLAIN.get(code, code)

    return _ESCAPE.sub(one, text).decode("utf-8", "surrogateescape")


def parse_line(line):
    """One line of the combined log (bytes, no newline) as a Request."""
    match = _LINE.match(line)
    if not match:
        raise Failed(f"not a line of an access log: {line!r}")
    remote, _, _, method, uri, proto, status, _, _, agent = match.groups()
    return Request(remote.decode(), method.decode(), _unescape(uri), int(status),
                   proto.decode(), _unescape(agent))


def make_certificate(folder):
    """A throw-away authority and a server certificate for 127.0.0.1; returns their paths."""
    authority, key, certificate = folder / "ca.crt", folder / "tls.key", folder / "tls.crt"
    run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=pulltap test authority",
         "-keyout", folder / "ca.key", "-out", authority])
    run(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-subj", "/CN=127.0.0.1", "-keyout", key, "-out", folder / "tls.csr"])
    extensions = folder.write("tls.ext", "subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    run(["openssl", "x509", "-req", "-in", folder / "tls.csr", "-CA", authority,
         "-CAkey", folder / "ca.key", "-CAcreateserial", "-days", "2", "-extfile", extensions,
         "-out", certificate])
    return authority, certificate, key


class Registry:
    """
    tls: own certificate, HTTP/1.1 and HTTP/2 as the client likes
    user: (name, password) for htpasswd, None for an open registry
    tokens: a TokenServer that lets user in, instead of htpasswd
    storage: the folder of another Registry's storage, which is then shared
    environment: extra REGISTRY_* settings
    port: another than a free one
    """

    def __init__(self, tls=False, user=None, environment=None, tokens=None, storage=None,
                 port=None):
        self.folder = Folder("pulltap-registry-")
        self.port = port or free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.tls = tls
        self.tokens = tokens
        self.user = tokens.user if tokens else user
        self.storage = storage or self.folder.make("storage")
        self.url = f"{'https' if tls else 'http'}://{self.host}"
        self.ca = None
        self.process = None
        self.environment = dict(environment or {})
        self._under = []  # a program that starts it
        self.log_path = self.folder / "access.log"
        self.error_path = self.folder / "registry.log"
        installed = find_program("docker-registry")
        if not installed:
            raise Failed("docker-registry is not installed (package docker-registry)")
        self.binary = self.folder / "docker-registry"
        shutil.copy(installed, self.binary)
        os.chmod(self.binary, 0o755)
        self._write_config()

    def _write_config(self):
        http_part = {"addr": self.host, "secret": "tests"}
        if self.tls:
            self.ca, certificate, key = make_certificate(self.folder)
            http_part["tls"] = {"certificate": certificate, "key": key}
        config = {
            "version": 0.1,
            "log": {"level": "warn", "accesslog": {"disabled": False}},
            "storage": {"filesystem": {"rootdirectory": self.storage},
                        "delete": {"enabled": True},
                        "maintenance": {"uploadpurging": {"enabled": False}}},
            "http": http_part,
        }
        if self.tokens:
            config["auth"] = {"token": self.tokens.config()}
        elif self.user:
            done = run(["htpasswd", "-Bbn", "-C", "4", *self.user])
            path = self.folder.write("htpasswd", done.stdout)
            config["auth"] = {"htpasswd": {"realm": "test", "path": path}}
        # JSON is YAML
        self._config = self.folder.write("config.yml", json.dumps(config, indent=1))

    def move(self, address, under):
        """To another address, started by a program that gets it there."""
        self.host = f"{address}:{self.port}"
        self.url = f"http://{self.host}"
        self._under = under
        self._write_config()

    def start(self, ready=None):
        """ready: tells that it listens, where that is no port of 127.0.0.1."""
        env = {"PATH": "/usr/bin:/bin"}
        env.update(self.environment)
        self.process = Process([*self._under, self.binary, "serve", self._config],
                               stdout=self.log_path, stderr=self.error_path, env=env)

        def up():
            if not self.process.running():
                with open(self.error_path) as errors:
                    raise Failed(f"docker-registry ended at once:\n{errors.read()}")
            return ready() if ready else listening(self.port)

        until(up, 20, what="docker-registry listens")
        return self

    @property
    def pid(self):
        return self.process.pid

    def wait_http(self, timeout=30):
        """For a registry that somebody else has started: until it answers."""
        def answers():
            return run(["curl", "-sf", self.url + "/v2/"], check=False).returncode == 0

        until(answers, timeout, what="the registry answers")

    def settle(self, quiet=0.25, timeout=20):
        """Waits until the access log has not grown for a while: every handler has returned."""
        return at_rest(self.log_path, "the registry's access log", quiet, timeout)

    def mark(self):
        """Where the log is now; requests(mark) gives what came later."""
        return self.settle()

    def requests(self, since=0):
        """Every request that was answered since the mark, in the log's order."""
        with open(self.log_path, "rb") as log:
            log.seek(since)
            data = log.read()
        if data and not data.endswith(b"\n"):
            raise Failed("the access log ends in the middle of a line")
        return [parse_line(line) for line in data.split(b"\n")[:-1]]

    def stop(self):
        if self.process:
            if self.process.running():
                self.settle()
            self.process.stop()
            self.process = None

    def close(self):
        if self.process:
            self.process.close()
            self.process = None
        self.folder.close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    # A small client, for preparing what the tests then pull with real ones.

    def connect(self):
        if self.tls:
            return http.client.HTTPSConnection(
                "127.0.0.1", self.port, timeout=30,
                context=ssl.create_default_context(cafile=self.ca))
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def headers(self, path=None, **more):
        made = dict(more)
        if self.tokens:
            repository = re.match(r"/v2/(.+)/(?:manifests|blobs|tags)/", path).group(1)
            made["Authorization"] = "Bearer " + self.tokens.token(
                [f"repository:{repository}:pull,push,delete"])
        elif self.user:
            made["Authorization"] = "Basic " + base64.b64encode(
                ":".join(self.user).encode()).decode()
        return made

    def ask(self, connection, method, path, body=None, expect=(200, 201, 202), **headers):
        headers.setdefault("Accept", images.ACCEPT)
        connection.request(method, path, body=body, headers=self.headers(path, **headers))
        reply = connection.getresponse()
        data = reply.read()
        if reply.status not in expect:
            raise Failed(f"{method} {path}: {reply.status} {data[:300]!r}")
        return reply

    def send(self, method, repository, name, peer="127.0.0.1", **headers):
        """One request for a manifest that is there, from one of loopback's addresses."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30,
                                                source_address=(peer, 0))
        try:
            self.ask(connection, method, f"/v2/{repository}/manifests/{name}", expect=(200,),
                     **headers)
        finally:
            connection.close()

    def push(self, image, repository, *tags, connection=None):
        """Stores an image under the tags (none: by digest only); returns its digest."""
        opened_here = connection is None
        connection = connection or self.connect()
        try:
            base = f"/v2/{repository}"
            for digest, data in image.blobs.items():
                reply = self.ask(connection, "POST", f"{base}/blobs/uploads/")
                path = re.sub(r"^https?://[^/]+", "", reply.headers["Location"])
                path += ("&" if "?" in path else "?") + "digest=" + digest
                self.ask(connection, "PUT", path, body=data,
                         **{"Content-Type": "application/octet-stream"})
            for digest, data in image.children.values():
                self.ask(connection, "PUT", f"{base}/manifests/{digest}", body=data,
                         **{"Content-Type": image.types["manifest"]})
            for tag in tags or (image.digest,):
                self.ask(connection, "PUT", f"{base}/manifests/{tag}", body=image.manifest,
                         **{"Content-Type": image.type})
        finally:
            if opened_here:
                connection.close()
        return image.digest

    def fill(self, images_count, repositories=1, prefix="r"):
        """So many images, each under a tag t0, t1, ... of r/0, r/1, ...; returns names()."""
        connection = self.connect()
        for number in range(images_count):
            self.push(images.Image(number), f"{prefix}/{number % repositories}", f"t{number}",
                      connection=connection)
        connection.close()
        return self.names()

    def resolve(self, repository, reference, connection=None):
        """The digest a reference names now, or None. It is a HEAD: it counts as a check."""
        opened_here = connection is None
        connection = connection or self.connect()
        try:
            reply = self.ask(connection, "HEAD", f"/v2/{repository}/manifests/{reference}",
                             expect=(200, 404))
            return reply.headers.get("Docker-Content-Digest") if reply.status == 200 else None
        finally:
            if opened_here:
                connection.close()

    def tags(self, repository):
        connection = self.connect()
        try:
            path = f"/v2/{repository}/tags/list"
            connection.request("GET", path, headers=self.headers(path))
            return sorted(json.loads(connection.getresponse().read()).get("tags") or [])
        finally:
            connection.close()

    def names(self):
        """{(repository, tag): digest} of all that is stored, read from the storage itself."""
        root = os.path.join(self.storage, "docker", "registry", "v2", "repositories")
        found = {}
        for path, folders, files in os.walk(root):
            if path.endswith("/current") and "link" in files:
                tag_folder = os.path.dirname(path)
                repository = os.path.relpath(tag_folder, root).rsplit("/_manifests/tags/", 1)[0]
                with open(os.path.join(path, "link")) as link:
                    found[repository, os.path.basename(tag_folder)] = link.read().strip()
        return found
