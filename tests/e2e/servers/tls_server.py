# SPDX-License-Identifier: MIT
"""
A small registry of http.server and ssl, read only but for PUTs that it forgets: manifests, blobs,
ranges, 304, 401. One JSON line per reply goes to its log, as the head is given to OpenSSL: whether
the client is still there then is nobody's knowledge.

    python3 tls_server.py CONFIG.json
"""
import base64
import ctypes
import json
import os
import re
import signal
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

_NAME = re.compile(r"^/v2/(.+)/(manifests|blobs)/([^/]+)$")
_RANGE = re.compile(r"^bytes=(\d+)-(\d*)$")
PIECE = 1 << 16


def address_of(connection):
    """Of OpenSSL's SSL: behind the head of Python's object and a reference to the socket."""
    return ctypes.c_void_p.from_address(id(connection._sslobj) + 24).value


class Log:
    """Lines of any thread and process, each in one write."""

    def __init__(self, path):
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def add(self, **entry):
        os.write(self._file, json.dumps(entry).encode() + b"\n")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "store"
    disable_nagle_algorithm = True

    def setup(self):
        self.request.do_handshake()
        super().setup()

    def handle(self):
        try:
            super().handle()
        except (OSError, ValueError):
            pass  # clients leave as they like
        finally:
            self.close_connection = True

    def log_message(self, *_):
        pass

    def handle_one_request(self):
        self.command, self.path, self.digest = "", "", ""
        super().handle_one_request()

    def send_response_only(self, code, message=None):
        self.sent = code
        super().send_response_only(code, message)

    def end_headers(self):
        """Every reply's head passes here; a request without a version gets none."""
        if self.sent not in (100, 103) and self.request_version != "HTTP/0.9":
            self.server.log.add(remote=self.client_address[0], method=self.command, uri=self.path,
                                status=self.sent, digest=self.digest, proto=self.request_version,
                                pid=os.getpid(), ssl=address_of(self.request))
        super().end_headers()

    def answer(self, status, body=b"", headers=()):
        """X-Body: chunked, or close, asks for another way of sending it."""
        way = self.headers.get("X-Body")
        if self.headers.get("X-Early"):
            self.send_response_only(103)
            self.send_header("Link", "</style.css>; rel=preload")
            self.end_headers()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if way == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        elif way == "close":
            self.send_header("Connection", "close")
        elif status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status != 304:
            self.send_body(body, way == "chunked")

    def send_body(self, body, chunked):
        for at in range(0, len(body), PIECE):
            piece = body[at:at + PIECE]
            if chunked:  # a size, what belongs to it and its end are a write each
                self.wfile.write(b"%x\r\n" % len(piece))
            self.wfile.write(piece)
            if chunked:
                self.wfile.write(b"\r\n")
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def switch(self):
        """Another protocol from here on: what comes goes back."""
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "echo")
        self.end_headers()
        self.wfile.flush()
        self.close_connection = True
        while True:
            data = self.rfile.read1(PIECE)
            if not data:
                return
            self.wfile.write(data)
            self.wfile.flush()

    def read_body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while True:
                size = int(self.rfile.readline().split(b";")[0], 16)
                self.rfile.read(size)
                self.rfile.readline()
                if not size:
                    return
        self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def let_in(self):
        user = self.server.config["user"]
        wanted = user and "Basic " + base64.b64encode(":".join(user).encode()).decode()
        if not wanted or self.headers.get("Authorization") == wanted:
            return True
        self.answer(401, b"{}", [("WWW-Authenticate", 'Basic realm="test"')])
        return False

    def find(self):
        """(kind, digest) of what the path names, or (None, None)."""
        match = _NAME.match(unquote(urlsplit(self.path).path))
        if not match:
            return None, None
        repository, kind, reference = match.groups()
        if kind == "blobs":
            return kind, reference
        return kind, self.server.config["tags"].get(repository, {}).get(reference)

    def do_GET(self):
        self.read_body()
        if not self.let_in():
            return
        if self.path == "/switch":
            self.switch()
            return
        if self.path == "/v2/":
            self.answer(200, b"{}")
            return
        kind, digest = self.find()
        path = os.path.join(self.server.config["store"], digest or "none")
        if not digest or not os.path.exists(path):
            self.answer(404, b"{}")
            return
        with open(path, "rb") as file:
            body = file.read()
        self.digest = digest
        headers = [("Docker-Content-Digest", digest), ("Etag", f'"{digest}"'),
                   ("Content-Type", "application/vnd.oci.image.manifest.v1+json"
                    if kind == "manifests" else "application/octet-stream")]
        if self.headers.get("If-None-Match") == f'"{digest}"':
            self.answer(304, headers=headers)
            return
        part = _RANGE.match(self.headers.get("Range", ""))
        if part and self.command == "GET":
            first, last = int(part.group(1)), min(int(part.group(2) or len(body)), len(body) - 1)
            headers.append(("Content-Range", f"bytes {first}-{last}/{len(body)}"))
            self.answer(206, body[first:last + 1], headers)
            return
        self.answer(200, body, headers)

    do_HEAD = do_GET

    def do_PUT(self):
        self.read_body()
        if not self.let_in():
            return
        kind, digest = self.find()
        self.digest = digest or ""
        self.answer(201 if digest else 404, headers=[("Docker-Content-Digest", digest)]
                    if digest else [])

    def do_DELETE(self):
        self.read_body()
        if self.let_in():
            self.answer(202)

    def do_POST(self):
        self.read_body()
        self.answer(405)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, config):
        self.config = config
        self.log = Log(config["log"])
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(config["certificate"], config["key"])
        self.context.set_alpn_protocols(["http/1.1"])
        if config["together"]:
            Handler.wbufsize = 4 * PIECE
        super().__init__(("127.0.0.1", config["port"]), Handler)

    def get_request(self):
        """The handshake is the connection's own thread's."""
        connection, address = super().get_request()
        connection.settimeout(60)
        return self.context.wrap_socket(connection, server_side=True,
                                        do_handshake_on_connect=False), address

    def handle_error(self, request, client_address):
        pass  # a handshake that failed


def main():
    with open(sys.argv[1]) as file:
        config = json.load(file)
    server = Server(config)
    for _ in range(config["workers"] - 1):
        if not os.fork():
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
            break
    server.serve_forever()


if __name__ == "__main__":
    main()
