# SPDX-License-Identifier: MIT
"""
What a client sees of the probe in nginx: requests per second and the 99th percentile of manifests in
on/off pairs, HTTP/1.1 and HTTP/2, passed on to docker-registry and out of nginx's own cache, where
nothing else takes time; then blobs. h2load asks, over eight kept connections.

    /usr/bin/python3 tests/bench/frontends.py [PAIRS [SECONDS]]
"""
import json
import os
import re
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "e2e")]

from bench import Counting, Off, alternate, pairs_table, task_seconds  # noqa: E402
from lib import proc  # noqa: E402
from lib.agent import Agent  # noqa: E402
from lib.images import ACCEPT, Image, digest_of  # noqa: E402
from lib.nginx import Nginx  # noqa: E402
from lib.registry import Registry  # noqa: E402

CONNECTIONS, TAGS, BLOB_BYTES = 8, 40, 64 << 10
CACHE = """
	proxy_cache_path @folder@/cache keys_zone=cached:10m;
	map $http_x_cached $zone { default off; 1 cached; }
"""
SERVER = """
	access_log off;
	location / { proxy_cache $zone; proxy_cache_valid 200 1h; proxy_pass http://registry; }
"""
KINDS = [("per_second", "requests/s"), ("p99_us", "p99 us"), ("cpu_us", "nginx CPU us/request")]


class Asker:
    """h2load with one list of paths; HTTP/2 has four streams a connection."""

    def __init__(self, nginx, folder, http2, seconds):
        self.nginx, self.http2, self.seconds = nginx, http2, seconds
        self.log, self.uris = folder / "h2load.log", folder / "uris"

    def measure(self, paths, cached):
        with open(self.uris, "w") as out:
            out.write("".join(self.nginx.url + path + "\n" for path in paths))
        if os.path.exists(self.log):
            os.unlink(self.log)
        time.sleep(1)  # an agent that has just started has much to look at
        workers = self.nginx.others()
        before = sum(map(task_seconds, workers))
        done = proc.run([
            proc.find_program("h2load"), "-c", str(CONNECTIONS), "-t", "1", "-D",
            str(self.seconds), *(["-m", "4"] if self.http2 else ["--h1"]), "-H",
            "Accept: " + ACCEPT, "-H", f"X-Cached: {int(cached)}", "-i", self.uris, "--log-file", self.log],
            timeout=self.seconds + 60)
        used = sum(map(task_seconds, workers)) - before
        with open(self.log) as log:
            times = sorted(int(line.split("\t")[2]) for line in log)
        ok = int(re.search(r"status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx",
                           done.stdout).group(1))
        return {"per_second": ok / self.seconds, "p99_us": times[len(times) * 99 // 100],
                "cpu_us": used * 1e6 / ok}


def stock(registry):
    """Paths of manifests by tag, and of blobs."""
    manifests, blobs = [], []
    for number in range(TAGS):
        image, blob = Image(f"bench {number}"), os.urandom(BLOB_BYTES)
        repository = f"team/app-{number % 7}"
        image.blobs[digest_of(blob)] = blob
        registry.push(image, repository, f"v{number}")
        manifests.append(f"/v2/{repository}/manifests/v{number}")
        blobs.append(f"/v2/{repository}/blobs/{digest_of(blob)}")
    return manifests, blobs


def main():
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    report = {}
    with Registry(environment={"REGISTRY_LOG_ACCESSLOG_DISABLED": "true",
                               "REGISTRY_LOG_LEVEL": "error"}) as registry:
        manifests, blobs = stock(registry)
        for http2 in (False, True):
            name = "HTTP/2 over TLS" if http2 else "HTTP/1.1"
            with proc.Folder("pulltap-bench-") as folder, \
                    Nginx(registry.port, tls=http2, http2=http2, workers=1, http=CACHE,
                          server=SERVER) as nginx:
                # no database: windows wait in the spool
                agent = Agent("host=/nonexistent", nginx.binary, "bench", window=600)
                asker = Asker(nginx, folder, http2, seconds)
                for what, paths, cached in (
                        ("manifests of docker-registry", manifests, False),
                        ("manifests in nginx's cache", manifests, True),
                        (f"blobs of {BLOB_BYTES >> 10} KiB in nginx's cache", blobs, True)):
                    asker.measure(paths, cached)  # fills caches
                    report[f"{name}, {what}"] = pairs_table(
                        f"nginx, {name}, {what}, {pairs} pairs of {seconds} s: median "
                        "(least..most)",
                        alternate([Off(), Counting(agent)], pairs,
                                  lambda: asker.measure(paths, cached)), KINDS)
                agent.close()
    path = os.path.join(proc.REPOSITORY_ROOT, "build", "bench-frontends.json")
    with open(path, "w") as out:
        json.dump(report, out, indent=1, sort_keys=True)
    print("\nthe same as JSON: build/bench-frontends.json")


if __name__ == "__main__":
    main()
