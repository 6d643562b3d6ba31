# SPDX-License-Identifier: MIT
"""
Bounded load with curl, which says itself what it got: one line per request, so that the client's
own account can be held against the registry's access log.
"""
import collections
import random
import threading
import time

from .images import ACCEPT
from .proc import Failed, Folder, clean_environment, find_program, run

Ask = collections.namedtuple("Ask", "method path user headers")
Got = collections.namedtuple("Got", "method path status proto")


def ask(method, path, user=None, **headers):
    return Ask(method, path, user, tuple(sorted(headers.items())))


def mixed(names):
    """Of each tag in names a pull, a check, a pull by digest and one of a tag that is missing."""
    asks = []
    for (repository, tag), digest in sorted(names.items()):
        base = f"/v2/{repository}/manifests"
        asks += [ask("GET", f"{base}/{tag}"), ask("HEAD", f"{base}/{tag}"),
                 ask("GET", f"{base}/{digest}"), ask("GET", f"{base}/{tag}x")]
    random.shuffle(asks)
    return asks


def _quote(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def curl(registry, asks, parallel=16, http2=False, timeout=300, check=True, http3=None):
    """
    Sends the requests in any order, at most parallel at a time; HTTP/2 shares one connection.
    http3: the command of a curl that speaks it, and then it does.
    Returns one Got per request; check=False allows some to have failed (status 0).
    """
    lines = []
    for number, one in enumerate(asks):
        if number:
            lines.append("next")
        lines += [
            f"url = {_quote(registry.url + one.path)}", "output = /dev/null", "silent",
            "path-as-is", "globoff", f"header = {_quote('Accept: ' + ACCEPT)}",
            'write-out = "%{method} %{http_code} %{http_version} %{url}\\n"',
            "head" if one.method == "HEAD" else f"request = {one.method}",
            "http3-only" if http3 else "http2" if http2 else "http1.1", "max-time = 60"]
        if registry.ca:
            lines.append(f"cacert = {_quote(registry.ca)}")
        if one.user:
            lines.append(f"user = {_quote(':'.join(one.user))}")
        for name, value in one.headers:
            lines.append(f"header = {_quote(name.replace('_', '-') + ': ' + value)}")
    with Folder("pulltap-curl-") as folder:
        config = folder.write("config", "\n".join(lines) + "\n")
        arguments = ["--parallel", "--parallel-max", str(parallel)]
        if not http2 and not http3:
            arguments.append("--parallel-immediate")
        done = run([*(http3 or [find_program("curl")]), "-q", *arguments, "-K", config], timeout=timeout,
                   env=clean_environment(), check=check)
    got = []
    for line in done.stdout.splitlines():
        method, status, proto, url = line.split(" ", 3)
        got.append(Got(method, url[len(registry.url):], int(status), proto))
    if len(got) != len(asks):
        raise Failed(f"curl answered for {len(got)} of {len(asks)} requests\n{done.stderr[-2000:]}")
    return got


def pull(registry, truth):
    """One of everything that the registry holds; the truth learns what its log says of it."""
    since = registry.mark()
    curl(registry, mixed(registry.names()))
    registry.settle()
    return truth.feed(registry.requests(since))


class Trickle:
    """
    A thread that asks without end, at most rate requests a second, over one kept connection per
    round; pause() returns only when nothing is on its way.
    """

    def __init__(self, registry, asks, rate=100):
        self.registry, self.asks, self.rate = registry, list(asks), rate
        self.sent = 0
        self.error = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self._stop.set()
        self._thread.join(60)
        if self._thread.is_alive():
            raise Failed("the load does not end")
        if self.error:
            raise Failed(f"the load failed: {self.error}")

    def _run(self):
        try:
            connection = self.registry.connect()
            due = time.monotonic()
            while not self._stop.is_set():
                one = self.asks[self.sent % len(self.asks)]
                connection.request(one.method, one.path,
                                   headers=self.registry.headers(Accept=ACCEPT))
                connection.getresponse().read()
                self.sent += 1
                due += 1 / self.rate
                time.sleep(max(0, due - time.monotonic()))
            connection.close()
        except Exception as error:  # told by stop()
            self.error = repr(error)
