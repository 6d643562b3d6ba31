# SPDX-License-Identifier: MIT
"""
haproxy with TLS in front of a registry. Its log is the truth: one line per request, with what it
sent to the client, written when the reply is over.
"""
import re
import socket
import threading

from .tls_front import Request, TlsFront
from .proc import Failed, find_program

_CONFIG = """
global
	log 127.0.0.1:{log} len 65000 format raw local0
	stats socket {folder}/admin
	nbthread {threads}
	maxconn 4000
	tune.http.logurilen 65535
	{main}
defaults
	mode http
	log global
	timeout connect 5s
	timeout client 60s
	timeout server 60s
frontend tls
	bind {host} ssl crt {folder}/both.pem alpn {alpn} {bind}
	http-response set-var(txn.digest) res.hdr(Docker-Content-Digest)
	log-format "%ci %ST %HM %HV %[var(txn.digest)] %HU"
	{frontend}
	default_backend registry
backend registry
	server registry 127.0.0.1:{upstream}
"""
_ENCODED = re.compile(rb"#([0-9A-F]{2})")


def installed():
    """Debian's haproxy, or None."""
    return find_program("haproxy")


class _Log(threading.Thread):
    """
    Takes haproxy's datagrams down. Of what threads write to a file at the same time, it drops some.
    """

    def __init__(self, path):
        super().__init__(daemon=True)
        self._path = path
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        # SO_RCVBUFFORCE: room for all that comes while this process is busy
        self._socket.setsockopt(socket.SOL_SOCKET, 33, 32 << 20)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.start()

    def run(self):
        with open(self._path, "ab", buffering=0) as log:
            while True:
                line = self._socket.recv(1 << 16)
                if not line:
                    return
                log.write(line if line.endswith(b"\n") else line + b"\n")

    def close(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"", ("127.0.0.1", self.port))
        self.join(10)
        self._socket.close()


class Haproxy(TlsFront):
    """main, bind, frontend: further words of the configuration's parts."""

    name = "haproxy"

    def __init__(self, upstream, http2=False, threads=4, main="", bind="", frontend=""):
        super().__init__(installed())
        self._log = _Log(self.log_path)
        self._settings = {
            "log": self._log.port,
            "upstream": upstream, "threads": threads, "main": main, "bind": bind,
            "frontend": frontend, "alpn": "h2,http/1.1" if http2 else "http/1.1"}

    def configure(self):
        both = b""
        for path in (self.certificate, self.key):
            with open(path, "rb") as file:
                both += file.read()
        self.folder.write("both.pem", both)
        self.folder.write("haproxy.cfg", _CONFIG.format(
            host=self.host, folder=self.folder.path, **self._settings))

    def argv(self):
        return [self.binary, "-db", "-f", self.folder / "haproxy.cfg"]

    def requests(self, since=0):
        with socket.socket(socket.AF_UNIX) as admin:
            admin.connect(self.folder / "admin")
            admin.sendall(b"show info\n")
            info = admin.makefile("r").read()
        if "DroppedLogs: 0\n" not in info:
            raise Failed(f"haproxy's log is not all of the truth:\n{info}")
        return super().requests(since)

    def close(self):
        super().close()
        if self._log:
            self._log.close()
            self._log = None

    def parse(self, line):
        parts = line.split(b" ", 5)
        if len(parts) != 6 or not parts[1].lstrip(b"-").isdigit():
            return None  # what it says of itself
        remote, status, method, proto, digest, uri = (
            _ENCODED.sub(lambda m: bytes([int(m.group(1), 16)]), part).decode(
                "utf-8", "surrogateescape") for part in parts)
        return Request(remote, method, uri, int(status), "" if digest == "-" else digest, proto)
