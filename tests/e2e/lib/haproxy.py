# SPDX-License-Identifier: MIT
"""
haproxy with TLS in front of a registry. Its log is the truth: one line per request, with what it
sent to the client, written when the reply is over.
"""
import re

from .tls_front import Request, TlsFront
from .proc import find_program

_CONFIG = """
global
	log stdout len 65535 format raw local0
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


class Haproxy(TlsFront):
    """main, bind, frontend: further words of the configuration's parts."""

    name = "haproxy"

    def __init__(self, upstream, http2=False, threads=4, main="", bind="", frontend=""):
        super().__init__(installed())
        self._settings = {
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

    @property
    def output(self):
        return self.log_path

    def parse(self, line):
        parts = line.split(b" ", 5)
        if len(parts) != 6 or not parts[1].lstrip(b"-").isdigit():
            return None  # what it says of itself
        remote, status, method, proto, digest, uri = (
            _ENCODED.sub(lambda m: bytes([int(m.group(1), 16)]), part).decode(
                "utf-8", "surrogateescape") for part in parts)
        return Request(remote, method, uri, int(status), "" if digest == "-" else digest, proto)
