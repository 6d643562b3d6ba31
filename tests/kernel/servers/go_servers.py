# SPDX-License-Identifier: MIT
"""Go HTTP servers of many versions, to watch and to ask. fetch.sh brings them.

    for server in go_servers.servers():
        with server.start(port, tls=True) as running:
            ...                         # running.pid, running.url, running.access_log

Nothing here knows of pulltap."""

import json
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from typing import Callable, Optional

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.get("PULLTAP_BUILD", HERE.parents[2] / "build"))
CACHE = BUILD / "cache"

# What servers that only hand out files serve; caddy adds the digest, esbuild can't.
REPOSITORY = "library/nginx"
TAG = "latest"
MANIFEST_PATH = f"/v2/{REPOSITORY}/manifests/{TAG}"
FIXED_DIGEST = "sha256:" + "ab" * 32


class Running:
    """A started server; a context manager that ends it."""

    def __init__(self, process, port, tls, folder, access_log):
        self.process = process
        self.pid = process.pid
        self.port = port
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        self.folder = folder
        self.access_log = access_log  # None when the server writes none
        self.output = folder / "output.txt"

    def log(self):
        """The access log's entries so far, oldest first."""
        if not self.access_log or not self.access_log.exists():
            return []
        with open(self.access_log) as f:
            return [json.loads(line) for line in f]

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


@dataclass
class Server:
    name: str
    go_minor: int  # 19 for Go 1.19
    path: pathlib.Path
    command: Callable  # (server, port, tls, folder) -> argv
    digest_supported: bool  # replies carry Docker-Content-Digest
    tls_supported: bool = True  # and HTTP/2 with it
    h2c_supported: bool = False  # HTTP/2 without TLS, through golang.org/x/net
    steered: bool = False  # our own server: understands the queries of goserver/main.go
    hooks: set = field(default_factory=lambda: {1, 2})  # enum pt_hook that must be found

    @property
    def register_abi(self):
        return self.go_minor >= 17

    @property
    def swiss_map(self):
        return self.go_minor >= 24

    def missing(self) -> Optional[str]:
        """Why it can't be used here, or None."""
        return None if self.path.exists() else f"{self.path} is missing: run fetch.sh"

    def start(self, port=0, tls=False) -> Running:
        """Starts it and waits until it answers. port 0 picks a free one."""
        if tls and not self.tls_supported:
            raise ValueError(f"{self.name} has no TLS")
        port = port or free_port()
        folder = pathlib.Path(tempfile.mkdtemp(prefix="pulltap-server-"))
        manifest = folder / "root" / MANIFEST_PATH[1:]
        manifest.parent.mkdir(parents=True)
        manifest.write_text("{}")
        access_log = folder / "access.jsonl" if self.steered else None
        with open(folder / "output.txt", "w") as output:
            process = subprocess.Popen(
                self.command(self, port, tls, folder),
                # esbuild ends when its standard input does
                stdin=subprocess.PIPE, stdout=output, stderr=output, cwd=folder,
                env={**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder),
                     "XDG_CONFIG_HOME": str(folder)})
        running = Running(process, port, tls, folder, access_log)
        try:
            wait_for_answer(running)
        except Exception:
            running.stop()
            raise
        if access_log:
            access_log.write_text("")  # only what the test asks for
        return running


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def trusting():
    """A TLS context for the certificate that fetch.sh made."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def wait_for_answer(running, seconds=20):
    deadline = time.monotonic() + seconds
    while True:
        if running.process.poll() is not None:
            raise RuntimeError(f"server ended: {running.output.read_text()[-2000:]}")
        try:
            urllib.request.urlopen(running.url + MANIFEST_PATH, timeout=2,
                                   context=trusting()).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise RuntimeError(f"no answer from {running.url}: {error}; "
                                   f"{running.output.read_text()[-2000:]}") from error
        time.sleep(0.02)


def goserver_command(server, port, tls, folder):
    argv = [str(server.path), "-listen", f"127.0.0.1:{port}",
            "-access-log", str(folder / "access.jsonl")]
    if tls:
        argv += ["-cert", str(CACHE / "cert.pem"), "-key", str(CACHE / "key.pem")]
    return argv


def esbuild_command(server, port, tls, folder):
    argv = [str(server.path), f"--serve=127.0.0.1:{port}", f"--servedir={folder / 'root'}"]
    if tls:
        argv += [f"--certfile={CACHE / 'cert.pem'}", f"--keyfile={CACHE / 'key.pem'}"]
    return argv


def caddy_command(server, port, tls, folder):
    site = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    keys = f"tls {CACHE / 'cert.pem'} {CACHE / 'key.pem'}" if tls else ""
    (folder / "Caddyfile").write_text(f"""{{
	admin off
	auto_https disable_redirects
	servers {{
		protocols h1 h2 h2c
	}}
}}
{site} {{
	{keys}
	root * {folder / 'root'}
	header {MANIFEST_PATH} Docker-Content-Digest {FIXED_DIGEST}
	file_server
}}
""")
    return [str(server.path), "run", "--config", str(folder / "Caddyfile"),
            "--adapter", "caddyfile"]


# esbuild's version, the minor version of the Go it was built with, whether it can do TLS
ESBUILD = [
    ("0.9.0", 16, False),
    ("0.12.29", 17, False),
    ("0.14.30", 18, False),
    ("0.15.15", 19, False),
    ("0.17.10", 20, True),
    ("0.19.12", 20, True),
    ("0.23.1", 22, True),
    ("0.25.0", 23, True),
    ("0.27.2", 25, True),
    ("0.28.2", 26, True),
]
GOSERVER = ["plain", "stripped", "pie", "v3", "race", "cgo-pie"]


def go_minor_here():
    """The minor version of the Go that builds our own server, or 0."""
    if not shutil.which("go"):
        return 0
    version = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True).stdout
    return int(version.strip().split(".")[1])


def fetch():
    """Brings what is missing. Returns what fetch.sh had to say about failures."""
    return subprocess.run([HERE / "fetch.sh", CACHE], capture_output=True, text=True).stderr


def servers():
    """All servers, those that are missing included (ask missing())."""
    minor = go_minor_here()
    for version, esbuild_minor, tls in ESBUILD:
        yield Server(f"esbuild-{version}", esbuild_minor,
                     CACHE / "esbuild" / version / "package" / "bin" / "esbuild",
                     esbuild_command, digest_supported=False, tls_supported=tls)
    yield Server("caddy", 19, pathlib.Path("/usr/bin/caddy"), caddy_command,
                 digest_supported=True, h2c_supported=True)
    for mode in GOSERVER:
        yield Server(f"goserver-{mode}", minor, CACHE / "goserver" / mode, goserver_command,
                     digest_supported=True, steered=True)
