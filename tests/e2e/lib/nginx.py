# SPDX-License-Identifier: MIT
"""
nginx in front of a registry, from a copy of the binary and with a folder of its own. Its access log
is the truth: one JSON line per request, written as the request is freed.
"""
import json
import os
import shutil
import signal
from collections import namedtuple

import pytest

from .proc import (CI, Failed, Folder, Process, REPOSITORY_ROOT, at_rest, find_program, free_port,
                   listening, run, until)
from .registry import make_certificate

Request = namedtuple("Request", "remote method uri status digest proto")

BUILDS = os.path.join(os.environ.get("PULLTAP_BUILD", os.path.join(REPOSITORY_ROOT, "build")),
                      "cache", "nginx")
FETCH = os.path.join(REPOSITORY_ROOT, "tests", "e2e", "servers", "nginx", "fetch.sh")

_CONFIG = """
daemon {daemon};
user root;
worker_processes {workers};
pid {folder}/nginx.pid;
error_log {folder}/error.log notice;
{main}
worker_rlimit_nofile 20000;
events {{ worker_connections 12000; }}
http {{
	log_format truth escape=json '{{"remote":"$remote_addr","request":"$request","uri":'
		'"{uri}","status":"$status","digest":"$sent_http_docker_content_digest",'
		'"proto":"$server_protocol"}}';
	access_log {log};
	client_body_temp_path {folder}/body;
	proxy_temp_path {folder}/proxy;
	{others}
	keepalive_requests 100000;
	client_max_body_size 0;
	{http}
	upstream registry {{ server 127.0.0.1:{upstream}; keepalive 32; }}
	server {{
		listen {listen};
		{tls}
		proxy_http_version 1.1;
		proxy_set_header Connection "";
		proxy_set_header Host {host};
		{server}
	}}
}}
"""


def installed():
    """Debian's nginx, or None."""
    return find_program("nginx")


class Nginx:
    """
    upstream: port of the registry behind it
    binary: another build; chroot: the folder that holds its libraries, or None
    uri: where the log takes it from; "$request" where the variable is none
    daemon: leaves its parent, which an upgrade by USR2 needs
    http3: over QUIC besides, with builds that have it
    main, http, server: further lines of the configuration, @folder@ is the one to write to
    """

    def __init__(self, upstream, tls=False, http2=False, workers=4, binary=None, chroot=None,
                 main="", http="", server="location / { proxy_pass http://registry; }",
                 log=True, daemon=False, uri="$request_uri", http3=False):
        self.folder = Folder("pulltap-nginx-")
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.tls, self.workers = tls, workers
        self.user = None  # clients that know a registry take it for one
        self.url = f"{'https' if tls else 'http'}://{self.host}"
        self.ca = None
        self.process = None
        self.daemon = daemon
        self.chroot = None
        if chroot:  # a copy of the whole: what is probed is this test's own
            self.chroot = self.folder / "root"
            shutil.copytree(chroot, self.chroot, symlinks=True)
            self.binary = self.chroot + binary
        else:
            self.binary = self.folder / "nginx"
            shutil.copy(binary or installed(), self.binary)
            os.chmod(self.binary, 0o755)
        self.work = os.path.join(self.chroot, "work") if self.chroot else self.folder.path
        os.makedirs(self.work, exist_ok=True)
        inner = "/work" if self.chroot else self.folder.path
        self.log_path = os.path.join(self.work, "access.log")
        self._inner = inner
        keys = ""
        if tls:
            self.ca, certificate, key = make_certificate(self.folder)
            if self.chroot:
                for path in (certificate, key):
                    shutil.copy(path, self.work)
            keys = (f"ssl_certificate {inner}/tls.crt; ssl_certificate_key {inner}/tls.key; "
                    "ssl_session_cache shared:tls:1m;")
        listen = f"{self.host}" + (" ssl" if tls else "") + (" http2" if http2 else "")
        if http3:
            keys += f" listen {self.host} quic reuseport; http3 on;"
        others = "".join(f"{kind}_temp_path {inner}/{kind}; "
                         for kind in ("fastcgi", "scgi", "uwsgi"))
        with open(os.path.join(self.work, "nginx.conf"), "w") as out:
            out.write(_CONFIG.format(
                daemon="on" if daemon else "off", workers=workers, folder=inner, uri=uri, main=main,
                # HTTP/3 has no such header, and nginx makes none of its :authority
                host="$host:$server_port" if http3 else "$http_host", http=http, server=server, tls=keys,
                upstream=upstream, listen=listen, others=others,
                log=f"{inner}/access.log truth" if log else "off").replace("@folder@", inner))

    def argv(self):
        inner = self.binary[len(self.chroot):] if self.chroot else self.binary
        chroot = ["chroot", self.chroot] if self.chroot else []
        return [*chroot, inner, "-p", self._inner, "-c", self._inner + "/nginx.conf"]

    def start(self):
        self.process = Process(self.argv(), stdout=self.folder / "output",
                               stderr=self.folder / "output")

        def up():
            if self.process.returncode not in (None, 0):
                raise Failed("nginx ended at once:\n" + self.errors())
            return listening(self.port) and os.path.exists(os.path.join(self.work, "nginx.pid"))

        until(up, 20, what="nginx listens")
        self._pid = self.process.pid
        if self.daemon:
            with open(os.path.join(self.work, "nginx.pid")) as file:
                self._pid = int(file.read())
        self.settle()
        return self

    def errors(self):
        text = ""
        for path in (self.folder / "output", os.path.join(self.work, "error.log")):
            if os.path.exists(path):
                with open(path, errors="replace") as file:
                    text += file.read()[-4000:]
        return text

    @property
    def pid(self):
        """The first master's."""
        return self._pid

    def others(self):
        """Processes of this nginx but the first master: workers, later masters."""
        found = []
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                if os.readlink(f"/proc/{name}/exe").split(" (deleted)")[0] == self.binary:
                    found.append(int(name))
            except OSError:
                continue
        return [pid for pid in found if pid != self.pid or self.daemon]

    def reload(self):
        """HUP: other workers take over, the old ones end with their last request."""
        os.kill(self.pid, signal.SIGHUP)

    def settle(self):
        """Waits until the access log has not grown for a while: every request was freed."""
        return at_rest(self.log_path, "nginx's access log", 0.3, 30)

    def mark(self):
        return self.settle()

    def requests(self, since=0):
        """Every request that was freed since the mark, in the log's order."""
        with open(self.log_path, "rb") as log:
            log.seek(since)
            lines = log.read().splitlines()
        found = []
        for line in lines:
            # escape=json leaves bytes above 127 as they are
            entry = json.loads(line.decode("utf-8", "surrogateescape"))
            method = entry["request"].split(" ")[0]  # as sent: error pages make a GET of it
            uri = entry["uri"]
            if uri == entry["request"] and " " in uri:
                uri = uri.split(" ")[1]
            found.append(Request(entry["remote"], method, uri, int(entry["status"]),
                                 entry["digest"], entry["proto"]))
        return found

    def stop(self):
        """Ends when every request is answered; those of an upgrade as well."""
        for pid in self.others():
            try:
                os.kill(pid, signal.SIGQUIT)
            except ProcessLookupError:
                pass
        if self.process.running():
            self.process.stop(signal.SIGQUIT, 30)
        until(lambda: not self.others(), 30, what="nginx ends")

    def close(self):
        if self.process:
            self.process.close()
            for pid in self.others():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.process = None
        self.folder.close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()


Build = namedtuple("Build", "name binary chroot")


def builds():
    """Other builds than the installed one, fetched or made when missing, and what failed."""
    done = run([FETCH, BUILDS], check=False, timeout=540)
    found = []
    for name in ("bullseye", "trixie", "sid"):
        root = os.path.join(BUILDS, name)
        if os.path.exists(root + "/usr/sbin/nginx"):
            found.append(Build(name, "/usr/sbin/nginx", root))
    if os.path.exists(os.path.join(BUILDS, "plain", "nginx")):
        found.append(Build("plain", os.path.join(BUILDS, "plain", "nginx"), None))
    return found, done.stderr


def build(name):
    """One of them, by its name; in CI it has to be there."""
    found, said = builds()
    for one in found:
        if one.name == name:
            return one
    (pytest.fail if CI else pytest.skip)(f"the build {name} of nginx could not be had here: {said}")


def curl_http3():
    """The command of a curl that speaks HTTP/3, with its own libraries; None where it can't be had."""
    builds()
    root = os.path.join(BUILDS, "curl")
    if not os.path.exists(root + "/usr/bin/curl"):
        return None
    return [root + "/lib64/ld-linux-x86-64.so.2", "--library-path",
            root + "/usr/lib/x86_64-linux-gnu", root + "/usr/bin/curl"]
