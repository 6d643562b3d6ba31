# SPDX-License-Identifier: MIT
"""
What every front end is asked in its tests, whichever way it is watched: a registry with many names,
everything that clients ask of it, and load by wrk and curl. A front end here is an object with url,
ca and log_path, one line of the log per request.
"""
import base64
import json
import os
import random
import re
import threading

from . import load
from .images import ACCEPT, Image, digest_of
from .proc import Failed, Process, find_program, run

USER = ("reader", "secret")
# `make test-frontends` asks for 50,000
REQUESTS = int(os.environ.get("PULLTAP_REQUESTS", "12000"))
_WRK = """
local asks = { %s }
math.randomseed(%d)
request = function()
	local ask = asks[math.random(#asks)]
	return wrk.format(ask[1], ask[2], ask[3])
end
"""


def images():
    """What every front end's registry holds: (image, repository, tags)."""
    for number in range(20):
        repository = ("team-%02d/" % (number % 7)) * (number % 3) + f"app.{number}_x"
        for version in range(3):
            yield Image(f"{number} {version}"), repository, (f"v{version}", f"r{version}-RC")


def fill(registry):
    connection = registry.connect()
    for image, repository, tags in images():
        registry.push(image, repository, *tags, connection=connection)
    connection.close()
    return registry.names()


def misleading(size):
    """
    A blob whose pieces look like heads of requests and replies wherever they are cut: 64, 128 or 19
    bytes long, so that some of a server's writes begin with one.
    """
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
    named = reply + b"Docker-Content-Digest: sha256:" + b"ab" * 32 + b"\r\n"
    heads = [named + b"X: " + b"x" * (252 - len(named) - 3) + b"\r\n\r\n",
             reply + b"X: " + b"y" * (60 - len(reply) - 3) + b"\r\n\r\n",
             b"HTTP/1.1 200 OK\r\n\r\n",
             b"GET /v2/false/manifests/t HTTP/1.1\r\nHost: a\r\n\r\n"]
    aligned = heads[0] + heads[1] * 4
    piece = aligned * 512 + b"".join(random.Random(1).choices(heads[2:], k=8192))
    piece = piece[:len(piece) // 256 * 256]
    return (piece * (size // len(piece) + 1))[:size]


def put_blob(registry, data, repository="blobs/large"):
    """Stores it in a Registry; returns the path to ask for."""
    connection = registry.connect()
    reply = registry.ask(connection, "POST", f"/v2/{repository}/blobs/uploads/")
    path = re.sub(r"^https?://[^/]+", "", reply.headers["Location"])
    digest = digest_of(data)
    registry.ask(connection, "PUT", f"{path}&digest={digest}", body=data,
                 **{"Content-Type": "application/octet-stream"})
    connection.close()
    return f"/v2/{repository}/blobs/{digest}"


class Downloads:
    """Threads that fetch a blob without end, so that heads and bodies go out side by side."""

    def __init__(self, server, path, number=3):
        self.done = 0
        self._error = None
        self._stop = threading.Event()
        self._argv = [find_program("curl"), "-qsf", "--http1.1", "--cacert", server.ca, "--user",
                      ":".join(USER), "-o", "/dev/null", server.url + path]
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(number)]

    def _run(self):
        while not self._stop.is_set():
            try:
                run(self._argv)
            except Failed as error:
                self._error = error
                return
            self.done += 1

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(120)
        if self._error:
            raise self._error


def mix(names):
    """Everything a registry is asked: (method, path, headers) with and without a password."""
    asks = []
    for (repository, tag), digest in sorted(names.items()):
        by_tag, by_digest = f"/v2/{repository}/manifests/{tag}", \
            f"/v2/{repository}/manifests/{digest}"
        asks += [("GET", by_tag, {}), ("GET", by_tag, {}), ("HEAD", by_tag, {}),
                 ("GET", by_digest, {}), ("HEAD", by_digest, {}),
                 ("GET", by_tag, {"If-None-Match": f'"{digest}"'}),
                 ("GET", by_tag, {"Range": "bytes=10-20"}),
                 ("GET", by_tag + "-absent", {}), ("HEAD", by_tag + "-absent", {}),
                 ("GET", by_tag + "?ns=registry.example", {}),
                 ("GET", by_tag.replace("manifests", "m%61nifests"), {}),
                 ("GET", by_digest.replace(":", "%3A"), {}),
                 ("GET", by_tag, {"Authorization": None}),
                 ("POST", by_tag, {}),
                 ("GET", f"/v2/{repository}/tags/list", {}), ("GET", "/v2/", {})]
    return asks


def with_password(asks):
    token = "Basic " + base64.b64encode(":".join(USER).encode()).decode()
    made = []
    for method, path, headers in asks:
        headers = {"Accept": ACCEPT, "Authorization": token, **headers}
        made.append((method, path, {k: v for k, v in headers.items() if v}))
    return made


def wrk(server, asks, seconds, folder, connections=16, seed=1):
    """Random ones of asks over kept connections; which were sent is the server's log's to say."""
    table = ", ".join("{ %s, %s, { %s } }" % (
        json.dumps(method), json.dumps(path),
        ", ".join(f"[{json.dumps(k)}] = {json.dumps(v)}" for k, v in headers.items()))
        for method, path, headers in asks)
    script = folder.write(f"wrk-{seed}.lua", _WRK % (table, seed))
    return Process([find_program("wrk"), "-t", "1", "-c", str(connections), "-d", f"{seconds}s",
                    "-s", script, server.url], stdout=folder / "wrk.log", stderr=folder / "wrk.log")


def curl_asks(asks, number, seed):
    random.seed(seed)
    return [load.Ask(method, path, None, tuple(headers.items()))
            for method, path, headers in random.choices(asks, k=number)]


def lines(server):
    with open(server.log_path, "rb") as log:
        return log.read().count(b"\n")


def load_by_wrk(server, asks, folder, seed, seconds=4, check=True):
    """wrk knows no HEAD: curl asks for those at the same time; check=False: some may fail."""
    client = wrk(server, [ask for ask in asks if ask[0] == "GET"], seconds, folder, seed=seed)
    heads = [ask for ask in asks if ask[0] != "GET"]
    load.curl(server, curl_asks(heads, REQUESTS // 12, seed), parallel=8, check=check)
    client.wait(60)
    client.stop()


def protocol(tls, http2):
    return f"HTTP/{2 if http2 else 1.1}{' over TLS' * tls}"


class Reloader:
    """
    A thread that makes a server with others() (its processes) and reload() have other ones every two
    seconds, workers of them; seen: how often they came.
    """

    def __init__(self, server, workers):
        self.server, self.workers, self.seen = server, workers, 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._done.wait(2):
            before = set(self.server.others())
            self.server.reload()
            # the old ones may go on for as long as they have requests
            while not self._done.wait(0.05):
                if len(set(self.server.others()) - before) >= self.workers:
                    self.seen += 1
                    break

    def stop(self):
        self._done.set()
        self._thread.join()
