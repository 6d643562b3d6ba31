# SPDX-License-Identifier: MIT
"""
Fault 7: what nobody should ever send: garbage in the spool of a running agent, settings made of
anything, and a database that fails with codes of every class at every statement.
"""
import contextlib
import os
import random
import stat
import string
import time

from lib import deaths
from lib.agent import BINARY
from lib.proc import Folder, clean_environment, run, until
from lib.proxy import SQLSTATES, Proxy
from scene import Scene

OTHER = "0123456789abcdef0123456789abcdef"


class Vandal:
    """Puts things into a spool: names that windows have, contents that they have not."""

    def __init__(self, spool):
        self.spool = spool
        self.whole, self.pieces = b"", 0
        with open(os.path.join(spool, "agent")) as file:
            self.agent = file.read().strip().replace("-", "")

    def look(self):
        """Takes a copy of a real window whenever one is there."""
        for name in os.listdir(self.spool):
            path = os.path.join(self.spool, name)
            with contextlib.suppress(OSError):
                found = os.lstat(path)
                if name.endswith(".win") and stat.S_ISREG(found.st_mode) and found.st_size < 1e6:
                    with open(path, "rb") as file:
                        data = file.read()
                    self.whole = data if data.startswith(b"PTWINDOW") else self.whole

    def untouched(self):
        """What has a name that no window can have: a number too large, or a span that ends early."""
        found = []
        for name in os.listdir(self.spool):
            numbers = [int(part) for part in name[:-4].split("-")[::2] if name.endswith(".win")]
            if numbers and (numbers[0] >= 2 ** 64 or numbers[-1] >= numbers[0] and numbers[1:]):
                found.append(os.path.join(self.spool, name))
        return found

    def left(self):
        names = {os.path.basename(path) for path in self.untouched()}
        return [name for name in os.listdir(self.spool)
                if name.endswith(".win") and name not in names]

    def name(self):
        with open(os.path.join(self.spool, "sequence")) as file:
            next_one = int(file.read())
        last = random.choice([0, 1, next_one, next_one + 1, next_one + 2, 10 ** 12, 2 ** 63,
                              2 ** 64 - 1, 2 ** 64])
        name = f"{last:020d}-{random.choice([self.agent, OTHER])}"
        if random.random() < 0.4:  # as if it held everything up to there
            name += f"-{random.randrange(max(1, last)):020d}"
        return os.path.join(self.spool, name + ".win")

    def content(self):
        data = bytearray(self.whole)
        kind = random.randrange(4)
        if kind == 0 or not data:
            return os.urandom(random.randrange(5000))
        if kind == 1:
            return bytes(data[:random.randrange(len(data))])
        if kind == 2:
            return bytes(data) + os.urandom(random.randrange(1, 100))
        for _ in range(random.randrange(1, 20)):
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        return bytes(data)

    def strike(self):
        path = self.name()
        with contextlib.suppress(FileExistsError):
            self.pieces += 1
            random.choice([self.file, self.file, self.file, self.empty, self.huge, self.link,
                           self.pipe, self.folder, self.locked])(path)

    def file(self, path):
        with open(path, "xb") as file:
            file.write(self.content())

    def empty(self, path):
        with open(path, "xb"):
            pass

    def huge(self, path):
        with open(path, "xb") as file:
            file.truncate(1 << 40)

    def link(self, path):
        os.symlink(random.choice(["/etc/passwd", "/dev/zero", "/nowhere", path]), path)

    def pipe(self, path):
        os.mkfifo(path)

    def folder(self, path):
        os.mkdir(path)

    def locked(self, path):
        self.file(path)
        os.chmod(path, 0)


def test_garbage_in_the_spool_costs_no_count(keep, database, scaled, figure):
    deaths.seed()
    pieces = scaled(600, least=100)
    with Scene(keep, database) as scene:
        until(lambda: os.path.exists(os.path.join(scene.spool, "ended")), 30, what="a window")
        vandal = Vandal(scene.spool)
        for number in range(pieces):
            vandal.look()
            vandal.strike()
            time.sleep(random.uniform(0, 0.1))
            if number % (pieces // 4) == pieces // 8:
                scene.agent.kill()  # the next one finds it all at its start
                scene.agent.start()
        until(lambda: len(vandal.left()) <= 1, 60, what="garbage is put aside")
    # names that no window can have are nobody's business
    for path in vandal.untouched():
        os.unlink(path) if not os.path.isdir(path) or os.path.islink(path) else os.rmdir(path)
    logged, sums = scene.finish()
    bad = os.listdir(os.path.join(scene.spool, "bad"))
    aside = [name for name in bad if not name.endswith(".reason")]
    assert {name + ".reason" for name in aside} <= set(bad)
    assert len(aside) > vandal.pieces * 0.6
    figure("garbage in the spool", f"{vandal.pieces} pieces, {len(aside)} put aside",
           f"{len(logged):,} requests, {sums['counted']:,} counted, exact")


NAMES = ["database", "window", "max-keys", "node", "registry", "state-dir", "bpffs", "hint-time",
         "log-level", "target", "no-discover", "spool-limit", "config", "user", "nonsense", ""]
VALUES = ["", "0", "-1", "1", "10", "99999999999999999999", "0x10", " 5", "5 ", "yes", "no", "debug",
          "a=b", "=", "x" * 5000, "\x01\x02", "é" * 300, "host=", "postgres://[", "'", "name=/bin/sh",
          "/", "/dev/null", "../..", "%s%n%s", "\\", "#"]


def random_text(length):
    return "".join(random.choice(string.printable) for _ in range(random.randrange(length)))


def a_setting():
    value = random.choice([random.choice(VALUES), random_text(40)])
    return random.choice(NAMES), value.replace("\0", "")


def settings(folder):
    """A command line, an environment and a file, each made of anything."""
    argv, environment, lines = [], {}, []
    for _ in range(random.randrange(4)):
        name, value = a_setting()
        argv += random.choice([[f"--{name}={value}"], [f"--{name}", value], [value], [f"--{name}"]])
        name, value = a_setting()
        environment["PULLTAP_" + name.upper().replace("-", "_")] = value
        name, value = a_setting()
        lines.append(random.choice([f"{name} = {value}", f"{name}{value}", value, random_text(200)]))
    data = "\n".join(lines).encode("utf-8", "replace")
    if random.random() < 0.2:
        data = os.urandom(random.randrange(3000))
    return [*argv, "--config", folder.write("fuzzed.conf", data)], environment


def test_settings_made_of_anything_are_refused_with_words(scaled, figure):
    """print-config goes the way of every command and stops before anything is touched."""
    deaths.seed()
    tries, refused = scaled(2000, least=300), 0
    with Folder() as folder:
        for _ in range(tries):
            argv, environment = settings(folder)
            environment = {key: value for key, value in environment.items() if "\0" not in value}
            done = run([BINARY, "run", *argv, "--print-config"], check=False, timeout=20,
                       env=clean_environment(HOME=folder.path, **environment))
            shown = (argv, environment, done.returncode, done.stdout[-500:], done.stderr[-500:])
            assert done.returncode in (0, 1, 2), shown
            assert "Sanitizer" not in done.stderr, shown
            if done.returncode:
                refused += 1
                assert done.stderr.strip(), shown
    assert 0 < refused < tries
    figure("settings made of anything", f"{tries} times", f"{refused} refused with words, no crash")


REGULAR = ["clock", "begin", "claim_window", "apply_tags", "apply_manifests", "commit"]
NEW_NAMES = ["intern_tags", "intern_manifests"]
CONNECTING = ["set", "prepare:schema_number", "schema_number", "prepare:claim_window", "maintain"]


def test_statements_that_fail_with_any_code_cost_no_count(keep, database, scaled, figure):
    deaths.seed()
    folder = database.folder.make("proxy")
    proxy = keep(Proxy(folder, os.path.join(database.socket, f".s.PGSQL.{database.PORT}")))
    every = [(statement, code) for statement in REGULAR + NEW_NAMES + CONNECTING[:4]
             for code in sorted(SQLSTATES.values())]
    random.shuffle(every)
    chosen = every[:scaled(len(every), least=24)]
    fresh = sum(statement in NEW_NAMES for statement, _ in chosen)
    with Scene(keep, database, conninfo=database.conninfo(host=folder), images=20 + fresh,
               asked=20) as scene:
        spare = sorted(scene.names)[20:]
        for statement, code in chosen:
            if statement in NEW_NAMES:
                scene.pull(*spare.pop())
            failed = proxy.failed
            proxy.fail(statement, code)
            if statement in CONNECTING:
                proxy.fail("begin", "57P01")  # the session ends, the next one begins with these
            until(lambda: not proxy.armed(), 60,
                  what=lambda: f"{statement} fails with {code}\n{scene.agent.log()[-2000:]}")
            assert proxy.failed > failed
    logged, sums = scene.finish()
    figure("statements made to fail", f"{proxy.failed} times, {len(SQLSTATES)} codes",
           f"{len(logged):,} requests, {sums['counted']:,} counted, exact")
