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

from . import load
from .images import ACCEPT, Image
from .proc import Process, find_program

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


def fill(registry):
    connection = registry.connect()
    for number in range(20):
        repository = ("team-%02d/" % (number % 7)) * (number % 3) + f"app.{number}_x"
        for version in range(3):
            registry.push(Image(f"{number} {version}"), repository, f"v{version}", f"r{version}-RC",
                          connection=connection)
    connection.close()
    return registry.names()


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


def load_by_wrk(server, asks, folder, seed, seconds=4):
    """wrk knows no HEAD: curl asks for those at the same time."""
    client = wrk(server, [ask for ask in asks if ask[0] == "GET"], seconds, folder, seed=seed)
    heads = [ask for ask in asks if ask[0] != "GET"]
    load.curl(server, curl_asks(heads, REQUESTS // 12, seed), parallel=8)
    client.wait(60)
    client.stop()
