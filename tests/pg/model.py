# SPDX-License-Identifier: MIT
"""What the database should hold after some windows, worked out the simple way: one event after
the other, in dictionaries, with nothing shared with the code under test."""
from collections import defaultdict
from datetime import datetime, timedelta, timezone

GET, HEAD, PUT, DELETE, HINTED, CHILD = 1, 2, 3, 4, 5, 7
DAY = 86400 * 10**6
# a Wednesday, 12:00 UTC
NOON = int(datetime(2026, 3, 4, 12, tzinfo=timezone.utc).timestamp()) * 10**6
MINUTE = 60 * 10**6


def digest(number):
    return f"sha256:{number:064x}"


def record(op, tag="", dig="", at=NOON, count=1, repository="library/alpine", registry="hub"):
    return {"op": op, "registry": registry, "repository": repository, "tag": tag, "digest": dig,
            "count": count, "last_us": at}


def window(*records, start=None, end=None, **more):
    times = [item["last_us"] for item in records] or [NOON]
    return {"start_us": min(times) if start is None else start,
            "end_us": max(times) + 1 if end is None else end, "records": list(records), **more}


def text(at):
    """As PostgreSQL's JSON writes a timestamptz in UTC."""
    if at is None:
        return None
    moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=at)
    fraction = f".{moment.microsecond:06d}".rstrip("0") if moment.microsecond else ""
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + fraction + "+00:00"


def day_of(at):
    return (datetime(1970, 1, 1) + timedelta(days=at // DAY)).strftime("%Y-%m-%d")


def least(a, b):
    return b if a is None else min(a, b)


def greatest(a, b):
    return b if a is None else max(a, b)


class Total:
    def __init__(self):
        self.pulls = self.checks = self.pushes = self.hinted = 0
        self.first_pull = self.last_pull = self.first_check = self.last_check = None
        self.last_push = None
        self.days = defaultdict(lambda: [0, 0])

    def add(self, item):
        op, count, at = item["op"], item["count"], item["last_us"]
        if op in (GET, HINTED):
            self.pulls += count
            self.first_pull = least(self.first_pull, at)
            self.last_pull = greatest(self.last_pull, at)
            self.days[day_of(at)][0] += count
        if op == HINTED:
            self.hinted += count
            self.checks -= count
            self.days[day_of(at)][1] -= count
        if op == HEAD:
            self.checks += count
            self.first_check = least(self.first_check, at)
            self.last_check = greatest(self.last_check, at)
            self.days[day_of(at)][1] += count
        if op == PUT:
            self.pushes += count
            self.last_push = greatest(self.last_push, at)

    def row(self):
        return (self.pulls, self.checks, self.pushes, self.hinted, text(self.first_pull),
                text(self.last_pull), text(self.first_check), text(self.last_check),
                text(self.last_push))


class Model:
    def __init__(self):
        self.tags, self.manifests = defaultdict(Total), defaultdict(Total)
        self.events = []

    def add(self, window):
        for item in window["records"]:
            where = (item["registry"], item["repository"])
            if item["tag"]:
                self.tags[where + (item["tag"],)].add(item)
            if item["digest"]:
                self.manifests[where + (item["digest"].lower(),)].add(item)
            self.events.append(item)

    def versions(self):
        """[(tag..., digest, from, to)], from events in the order of their times."""
        open_versions, done = {}, []

        def end(key, at):
            if key in open_versions:
                dig, since = open_versions.pop(key)
                done.append(key + (dig, text(since), text(at)))

        for item in sorted(self.events, key=lambda item: item["last_us"]):
            where, at = (item["registry"], item["repository"]), item["last_us"]
            key, dig = where + (item["tag"],), item["digest"]
            if item["op"] == DELETE and item["tag"]:
                end(key, at)
            elif item["op"] == DELETE:
                for other in [k for k, (d, _) in open_versions.items()
                              if k[:2] == where and d == dig]:
                    end(other, at)
            elif item["tag"] and dig and item["op"] != HINTED:
                if open_versions.get(key, (None,))[0] != dig:
                    end(key, at)
                    open_versions[key] = (dig, at)
        return sorted(done + [key + (dig, text(since), None)
                              for key, (dig, since) in open_versions.items()], key=str)


def totals(db, view, name):
    return {(row["registry"], row["repository"], row[name]):
            (row["pulls"], row["checks"], row["pushes"], row["hinted_pulls"], row["first_pull"],
             row["last_pull"], row["first_check"], row["last_check"], row["last_push"])
            for row in db.rows(f"select * from pulltap.{view}")}


def daily(db, view, name):
    return {(row["registry"], row["repository"], row[name], row["day"]):
            [row["pulls"], row["checks"]] for row in db.rows(f"select * from pulltap.{view}")}


def compare(db, model):
    """Totals and days of the database against the model's."""
    for view, name, entries in (("tags", "tag", model.tags),
                                ("manifests", "digest", model.manifests)):
        assert totals(db, view, name) == {key: total.row() for key, total in entries.items()}
        assert daily(db, view[:-1] + "_daily", name) == {
            key + (day,): counts for key, total in entries.items()
            for day, counts in total.days.items() if counts != [0, 0]}


def history(db):
    return sorted(((row["registry"], row["repository"], row["tag"], row["digest"],
                    row["valid_from"], row["valid_to"])
                   for row in db.rows("select * from pulltap.tag_history")), key=str)
