#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
check.py FOLDER: compares what a guest's clients saw with what pulltap counted there, in the live
maps and in the spool, and prints one line. What a request should have become is worked out here
from its reply alone; nothing is taken from pulltap's own code.
"""
import json
import re
import sys
import urllib.parse
from collections import Counter

LOAD_HITS = 20000
# What the guest's traffic must have in it for the comparison to mean something.
ALL_KINDS = {"get", "head", "put", "delete", "hinted_get", "counted", "filtered_method",
             "filtered_not_manifest", "filtered_status_404", "filtered_status_4xx"}
HARMLESS_CHECKS = {"database", "registry"}  # neither is there when doctor runs


class Guest:
    def __init__(self, folder):
        self.folder = folder
        self.problems = []

    def text(self, name):
        with open(f"{self.folder}/{name}", errors="replace") as file:
            return file.read()

    def json(self, name):
        return json.loads(self.text(name))

    def expect(self, what, found, expected):
        if found != expected:
            self.problems.append(f"{what}: {found}, expected {expected}")


def classify(method, path, status):
    """What a reply is: an op that counts, or the ledger's name for one that does not."""
    if method not in ("GET", "HEAD", "PUT", "DELETE"):
        return "filtered_method", None
    match = re.fullmatch(r"(?:/.*)?/v2/(.+)/manifests/([^/]+)", path)
    if not match:
        return "filtered_not_manifest", None
    if 200 <= status < 300:
        op = {("GET", 200): "get", ("HEAD", 200): "head", ("PUT", 201): "put",
              ("DELETE", 202): "delete"}.get((method, status))
        return op or "filtered_status_2xx", match
    if status == 304:
        return "head", match
    if status in (401, 404, 429):
        return f"filtered_status_{status}", None
    return f"filtered_status_{status // 100}xx", None


def replay(lines):
    """Counts of keys and of ledger entries after these requests, all by one peer."""
    keys, ledger, hints = Counter(), Counter(), {}
    for line in lines:
        method, url, status, _, digest = line.split("\t")
        path = urllib.parse.unquote(urllib.parse.urlsplit(url).path)
        outcome, match = classify(method, path, int(status))
        if not match:
            ledger[outcome] += 1
            continue
        repository, reference = match.groups()
        tag = reference
        if ":" in reference:
            tag, digest = "", reference
        if outcome == "head" and tag and digest:
            hints[repository, digest] = tag
        elif outcome == "get" and not tag and (repository, digest) in hints:
            outcome, tag = "hinted_get", hints.pop((repository, digest))
        ledger["counted"] += 1
        keys[outcome, "docker-registry", repository, tag, digest] += 1
    return keys, ledger


def loaded(guest, name):
    keys = Counter()
    for line in guest.text(name).splitlines():
        repository, tag, digest, count = line.split()
        keys["get", "load", repository, tag, digest] += int(count)
    guest.expect(name, sum(keys.values()), LOAD_HITS)
    return keys


def difference(found, expected):
    """At most three keys that differ, for the message."""
    keys = sorted(k for k in found.keys() | expected.keys() if found[k] != expected[k])
    return [(k, found[k], expected[k]) for k in keys[:3]] + [len(keys)] * bool(keys)


def check_live(guest, keys, ledger):
    """The first agent's window while it is in use, as `pulltap top` and `status` read it."""
    expected, found = Counter(), Counter()
    for (op, registry, repository, tag, digest), count in keys.items():
        expected[f"{registry}/{repository}" + (f":{tag}" if tag else f"@{digest}"), op] += count
    top = guest.json("top.json")
    for row in top["keys"]:
        found[row["name"], row["op"]] += row["count"]
    guest.expect("top", difference(found, expected), [])
    before = Counter(guest.json("before.json")["window"]["ledger"])
    for name in ("top", "status"):
        books = top["ledger"] if name == "top" else guest.json("status.json")["window"]["ledger"]
        books = Counter(books)
        books.subtract(before)
        for entry in books:
            if entry.startswith(("counted", "filtered_", "lost_")):
                if entry != "filtered_stack_growth":
                    guest.expect(f"{name} {entry}", books[entry], ledger[entry])
    status = guest.json("status.json")
    guest.expect("agent runs", status["agent"]["running"], True)
    guest.expect("sites' hits", sum(site["hits"] for site in status["sites"]),
                 status["window"]["ledger"]["seen"])
    guest.expect("layout failures", [s["layout_failures"] for s in status["sites"] if
                                     s["layout_failures"] or s["off"]], [])
    symbols = {site["symbol"] for site in status["sites"] if site["hits"]}
    guest.expect("probes that were hit", len(symbols), 3)  # HTTP/1, HTTP/2, load's


def check_spool(guest, keys, ledger):
    """All windows together. Returns their number and their ledger."""
    found, books, sequences = Counter(), Counter(), []
    for line in guest.text("spool.jsonl").splitlines():
        row = json.loads(line)
        if "sequence" in row:
            sequences.append(row["sequence"])
            books.update(row["ledger"])
        else:
            found[row["op"], row["registry"], row["repository"], row["tag"],
                  row["digest"]] += row["count"]
    # the registry started after the agent: milliseconds, not pulls
    late = found.pop(("off", "docker-registry", "", "late", ""), 0)
    guest.expect("probed within two seconds", late < 2000, True)
    guest.expect("spool", difference(found, keys), [])
    guest.expect("sequences", sequences, list(range(1, len(sequences) + 1)))
    guest.expect("counted", books["counted"], ledger["counted"])
    guest.expect("seen", books["seen"],
                 sum(n for name, n in books.items() if name == "counted" or
                     name.startswith(("filtered_", "lost_"))))
    guest.expect("lost", {n: c for n, c in books.items() if n.startswith("lost_")}, {})
    return len(sequences), books


def check_start(guest):
    verify = guest.json("verify.json")
    guest.expect("load error", verify["load_error"], "")
    guest.expect("batches", verify["batches"], "ok")
    for row in guest.json("doctor.json"):
        if row["verdict"] != "ok" and row["check"] not in HARMLESS_CHECKS | {"pins"}:
            guest.problems.append(f"doctor: {row['check']}: {row['found']}")
    return verify


def warnings(guest):
    return re.findall(r"(?:WARNING|BUG|Oops|panic)[:].*", guest.text("dmesg"))


def judge(guest):
    end = guest.text("end").strip()
    if end != "complete":
        return end
    verify = check_start(guest)
    lines = guest.text("requests").splitlines()
    first = loaded(guest, "load.first")
    later = loaded(guest, "load.second") + loaded(guest, "load.third")
    # the last four requests and two loads came after the first agent's picture was taken
    keys, ledger = replay(lines[:-4])
    ledger["counted"] += LOAD_HITS
    check_live(guest, keys + first, ledger)
    keys, ledger = replay(lines)
    guest.expect("kinds of traffic", {key[0] for key in keys} | set(ledger), ALL_KINDS)
    ledger["counted"] += 3 * LOAD_HITS
    windows, books = check_spool(guest, keys + first + later, ledger)
    guest.expect("pins after SIGINT", guest.text("pins"), "")
    versions = {line.split("\t")[3] for line in lines}
    guest.expect("HTTP versions", versions, {"1.1", "2"})
    second_log = guest.text("second.log")
    took = [int(us) for us in re.findall(r"took_us=(\d+)", second_log)]
    processed = max(p["processed"] for p in verify["programs"])
    verify_ms = sum(p["verify_us"] for p in verify["programs"]) / 1000
    cpus = guest.text("cpus").split()
    return (f"{len(lines)} requests and {3 * LOAD_HITS} hits, {books['counted']} counted, 0 lost, "
            f"{books['note_overflow']} by way of overflow, {windows} windows, "
            f"slowest drain {max(took, default=0) / 1000:.0f} ms; largest program "
            f"{processed} instructions processed, all verified in {verify_ms:.0f} ms, "
            f"loaded in {verify['load_us'] / 1000:.0f} ms; {cpus[0]} CPUs ({cpus[1]} possible); "
            f"{len(warnings(guest))} kernel warnings")


def main():
    guest = Guest(sys.argv[1])
    try:
        uname = guest.text("uname")
        name = uname.split()[0] + "".join(f" ({v})" for v in re.findall(r"Debian (\S+)", uname))
        line = judge(guest)
        complete = guest.text("end").strip() == "complete"
    except (OSError, ValueError, KeyError) as error:
        name, line, complete = sys.argv[1], f"{type(error).__name__}: {error}", False
    if complete and not guest.problems:
        print(f"ok    {name}: {line}")
        return 0
    print(f"FAIL  {name}: {'; '.join(map(str, guest.problems)) or line}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
