# SPDX-License-Identifier: MIT
"""
The token server of a registry with token authentication: hands out RS256 JWTs whose x5c header
carries the certificate that the registry trusts. It grants what is asked for to whoever knows the
password, by GET as docker, podman and curl ask, and by POST as containerd does first.
"""
import base64
import json
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from lib.proc import Folder, closed, opened, run

ISSUER, SERVICE = "pulltap tests", "registry of the tests"


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def access_of(scopes):
    """repository:team/app:pull,push and so on, as the token's access claim."""
    made = []
    for scope in scopes:
        for one in scope.split():
            kind, rest = one.split(":", 1)
            name, actions = rest.rsplit(":", 1)
            made.append({"type": kind, "name": name, "actions": actions.split(",")})
    return made


class TokenServer:
    """user: (name, password) that is let in. realm and certificate belong in the registry's config."""

    def __init__(self, user):
        self.user = user
        self.folder = Folder("pulltap-token-")
        self.certificate, self._key = self.folder / "token.crt", self.folder / "token.key"
        run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
             "/CN=pulltap test tokens", "-keyout", self._key, "-out", self.certificate])
        with open(self.certificate) as file:
            body = "".join(line.strip() for line in file if not line.startswith("-----"))
        self._header = {"typ": "JWT", "alg": "RS256", "x5c": [body]}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.realm = f"http://127.0.0.1:{self._server.server_port}/token"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        opened(self)

    def config(self):
        """The registry's auth.token section."""
        return {"realm": self.realm, "service": SERVICE, "issuer": ISSUER,
                "rootcertbundle": self.certificate}

    def token(self, scopes):
        now = int(time.time())
        claims = {"iss": ISSUER, "sub": self.user[0], "aud": SERVICE, "iat": now, "nbf": now - 10,
                  "exp": now + 600, "jti": str(time.monotonic_ns()), "access": access_of(scopes)}
        text = ".".join(encoded(json.dumps(part).encode()) for part in (self._header, claims))
        signed = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self._key],
                                input=text.encode(), capture_output=True, check=True)
        return text + "." + encoded(signed.stdout)

    def _handler(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                basic = self.headers.get("Authorization", "").partition("Basic ")[2]
                self._answer(tuple(base64.b64decode(basic).decode().split(":", 1)),
                             parse_qs(urlsplit(self.path).query))

            def do_POST(self):
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                self._answer((form.get("username", [""])[0], form.get("password", [""])[0]), form)

            def _answer(self, user, asked):
                good = user == server.user
                made = server.token(asked.get("scope", [])) if good else ""
                body = json.dumps({"token": made, "access_token": made, "expires_in": 600}
                                  if good else {"errors": [{"code": "UNAUTHORIZED"}]}).encode()
                self.send_response(200 if good else 401)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        return Handler

    def close(self):
        closed(self)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self.folder.close()
