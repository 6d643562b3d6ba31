# SPDX-License-Identifier: MIT
"""Where OpenSSL is probed, and whose it is. The truth: the symbol table of a program that was linked
with libssl.a, the disassembler, and /proc/PID/maps of real processes."""

import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from watching import TOOLS, find_program, missing, run, until
from lib.agent import Agent, migrate, pulltap
from lib.nginx import BUILDS, FETCH
from lib.postgres import Postgres
from lib.proc import Folder, Process, free_port
from lib.registry import make_certificate

READ, READ_DONE, WRITE, FREE = "read", "read_done", "write", "free"
LIBRARY = "/usr/lib/x86_64-linux-gnu/libssl.so.3"
PYTHON = os.path.realpath("/usr/bin/python3")
# by suite, as tests/e2e/servers/nginx/fetch.sh brings them: OpenSSL 1.1.1, 3.5, 3.6
OTHERS = {"bullseye": "libssl.so.1.1", "trixie": "libssl.so.3", "sid": "libssl.so.3"}

PROGRAM = """
#include <openssl/ssl.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	SSL *ssl;
	size_t n;
	char b[9];

	if (argc < 2)
		return pause();
	ssl = SSL_new(SSL_CTX_new(TLS_server_method()));
	SSL_read(ssl, b, 9);
	SSL_read_ex(ssl, b, 9, &n);
	SSL_write(ssl, b, 9);
	SSL_write_ex(ssl, b, 9, &n);
	SSL_free(ssl);
	return 0;
}
"""


def inspect(path):
    done = run([TOOLS / "inspect", "--openssl", path])
    return json.loads(done.stdout)


def hooks(found):
    """{hook: site}, by the order in which they are to be attached."""
    assert found["result"] == 0 and found["refusal"] == ""
    assert len(found["sites"]) == 4
    return dict(zip([FREE, WRITE, READ_DONE, READ], found["sites"]))


def segments(path):
    """Of a file: (offset, address, size) of what is loaded."""
    return [tuple(int(word, 16) for word in re.findall("0x[0-9a-f]+", line)[:2] +
                  re.findall("0x[0-9a-f]+", line)[3:4])
            for line in run(["readelf", "-lW", path]).stdout.splitlines()
            if line.split()[:1] == ["LOAD"]]


def address(path, offset):
    where, = [start + offset - at for at, start, size in segments(path) if at <= offset < at + size]
    return where


def instruction(path, offset):
    start = address(path, offset)
    text = run(["objdump", "-d", "--no-show-raw-insn", f"--start-address={start}",
                f"--stop-address={start + 16}", path]).stdout
    return re.search(rf"^ *{start:x}:\t(\S+)", text, re.M).group(1)


def assert_cheap(path):
    found = hooks(inspect(path))
    for site in found.values():
        mnemonic = instruction(path, site["file_offset"])
        assert mnemonic == "push" or mnemonic.startswith("j"), site
    assert instruction(path, found[READ_DONE]["file_offset"])[0] == "j"
    return found


def test_installed_library_is_probed_on_emulated_instructions():
    found = assert_cheap(LIBRARY)
    assert len({site["file_offset"] for site in found.values()}) == 4


@pytest.mark.parametrize("suite", OTHERS)
def test_libraries_of_other_releases_are_probed_as_well(suite):
    path = pathlib.Path(BUILDS, suite, "usr/lib/x86_64-linux-gnu", OTHERS[suite])
    if not path.exists():
        subprocess.run(["sh", FETCH], capture_output=True, timeout=540)
    if not path.exists():
        missing(f"{path} could not be fetched")
    assert_cheap(path)


@pytest.fixture(scope="module")
def static():
    """A program with OpenSSL inside, and where its functions lie: {name: range of addresses}."""
    if not os.path.exists("/usr/lib/x86_64-linux-gnu/libssl.a"):
        missing("libssl.a is not installed")
    folder = Folder("pulltap-openssl-")
    source, program = folder.write("program.c", PROGRAM), folder / "program"
    run([find_program("gcc"), source, "-o", program, "-l:libssl.a", "-l:libcrypto.a"])
    functions = {}
    for line in run(["nm", "-S", program]).stdout.splitlines():
        word = line.split()
        if len(word) == 4 and word[2] in "tT":
            functions[word[3]] = range(int(word[0], 16), int(word[0], 16) + int(word[1], 16))
    yield program, functions
    folder.close()


def test_places_lie_in_the_functions_that_the_symbol_table_names(static):
    program, functions = static
    found = assert_cheap(program)
    for hook, name in {FREE: "SSL_free", WRITE: "ssl_write_internal",
                       READ: "ssl_read_internal"}.items():
        within = address(program, found[hook]["file_offset"]) - functions[name].start
        assert 0 <= within < 16, name  # its arguments are still in their registers
    where = address(program, found[READ_DONE]["file_offset"])
    name, = [name for name, addresses in functions.items() if where in addresses]
    assert name == "ssl3_read_internal"


def test_program_without_openssl_has_no_places():
    assert inspect("/bin/true")["error"] == "No such file or directory"


# Agents. A server that runs a copy of the interpreter is a program of its own.

SERVER = """
import http.server, ssl, sys, time
time.sleep(float(sys.argv[3]))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2] + "/tls.crt", sys.argv[2] + "/tls.key")
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])),
                                http.server.SimpleHTTPRequestHandler)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""
LATE = SERVER.replace("import http.server, ssl, sys, time\n", "import sys, time\n").replace(
    "context = ssl", "import http.server, ssl\ncontext = ssl", 1)


class Server:
    """libraries: a folder with a libssl of its own, or None. late: loads its library after so long."""

    def __init__(self, libraries=None, late=0):
        self.folder = Folder("pulltap-openssl-")
        self.program = self.folder / "python3"
        shutil.copy2(PYTHON, self.program)
        make_certificate(self.folder)
        self.folder.make("v2/team/app/manifests")
        self.folder.write("v2/team/app/manifests/v1", "{}")
        self.script = self.folder.write("server.py", LATE if late else SERVER)
        self.port, self.late, self.libraries = free_port(), late, libraries
        self.process = None

    def start(self):
        environment = dict(os.environ, PYTHONHOME="/usr")
        if self.libraries:
            environment["LD_LIBRARY_PATH"] = self.libraries.path
        self.process = Process([self.program, self.script, str(self.port), self.folder.path,
                                str(self.late)], env=environment, cwd=self.folder.path,
                               stdout=self.folder / "out", stderr=self.folder / "out")
        return self

    def ask(self):
        until(lambda: self.curl("/") == 0, 30, what="the server answers")

    def pull(self, times):
        """Waits for the server, too."""
        for _ in range(times):
            until(lambda: self.curl("/v2/team/app/manifests/v1") == 0, 30, 0.02,
                  what="the server answers")

    def curl(self, path):
        return run(["curl", "-skf", "-o", "/dev/null", f"https://127.0.0.1:{self.port}{path}"],
                   check=False).returncode

    def library(self):
        """(inode, path) of the libssl that it has mapped, or None."""
        with open(f"/proc/{self.process.pid}/maps") as maps:
            for line in maps:
                if re.search(r"r-xp .*/libssl\.so", line):
                    return int(line.split()[4]), line.split()[5]
        return None

    def poke(self, offset, byte):
        """Writes over the library's code as this process has it."""
        with open(f"/proc/{self.process.pid}/maps") as maps:
            line, = [line for line in maps if re.search(r"r-xp .*/libssl\.so", line)]
        start, at = int(line.split("-")[0], 16), int(line.split()[2], 16)
        with open(f"/proc/{self.process.pid}/mem", "r+b", buffering=0) as memory:
            memory.seek(start + offset - at)
            memory.write(byte)

    def close(self):
        if self.process:
            self.process.kill()
        self.folder.close()


class Kept:
    def __init__(self, process):
        self.process = process

    def close(self):
        self.process.kill()


@pytest.fixture
def keep():
    kept = []
    yield lambda thing: kept.append(thing) or thing
    for thing in reversed(kept):
        thing.close()


@pytest.fixture(scope="module")
def database():
    postgres = Postgres().start()
    migrate(postgres)
    yield postgres
    postgres.close()


@pytest.fixture
def watched(keep, database):
    """watched(targets, ...) -> an agent; it ends with the test, and nothing of it stays."""
    agents = []

    def start(targets, *more):
        words = [word for name, what in targets.items() for word in ("--target", f"{name}={what}")]
        agents.append(keep(Agent(database.conninfo(), arguments=[*words, *more])).start())
        return agents[-1]

    yield start
    for agent in agents:
        agent.stop()


def sites(agent, registry, probe="ours"):
    return [site for site in agent.status()["sites"]
            if site["registry"] == registry and probe in (None, site["probe"])]


def hits(agent, registry):
    return sum(site["hits"] for site in agent.status()["sites"] if site["registry"] == registry)


def wait_probed(agent, registry, inode):
    until(lambda: [s["inode"] for s in sites(agent, registry)].count(inode) == 4, 20,
          what=lambda: f"{registry} is probed in {inode}\n{agent.log()[-2000:]}")


def test_program_that_runs_is_probed_in_the_library_it_has_loaded(keep, watched):
    server = keep(Server()).start()
    server.ask()
    agent = watched({"hub": f"openssl:{server.program}"})
    inode, path = server.library()
    wait_probed(agent, "hub", inode)
    event, = agent.events("target attached")
    assert event["version"] == os.path.basename(path)
    server.ask()  # and it still answers


def test_program_that_loads_its_library_late_is_probed_then(keep, watched):
    server = keep(Server(late=1.5))
    agent = watched({"hub": f"openssl:{server.program}"})
    server.start()
    server.ask()
    wait_probed(agent, "hub", server.library()[0])


def test_two_programs_of_one_library_count_each_its_own(keep, watched):
    one, two, other = [keep(Server()).start() for _ in range(3)]
    one.ask(), two.ask(), other.ask()
    assert one.library() == two.library() == other.library()
    agent = watched({"one": f"openssl:{one.program}", "two": f"openssl:{two.program}"},
                    "--count-at", "both")
    for name in ("one", "two"):
        wait_probed(agent, name, one.library()[0])
    assert len(agent.status()["sites"]) == 8
    one.pull(5), two.pull(2), other.pull(3)
    until(lambda: (hits(agent, "one"), hits(agent, "two")) == (5, 2), 20,
          what=lambda: f"each has its hits: {agent.status()['sites']}")


def test_restart_with_the_same_library_needs_no_new_probe(keep, watched):
    server = keep(Server()).start()
    server.ask()
    agent = watched({"hub": f"openssl:{server.program}"})
    wait_probed(agent, "hub", server.library()[0])
    for _ in range(3):
        server.process.kill()
        server.start()
        server.pull(1)  # the first thing that it answers
    until(lambda: hits(agent, "hub") == 3, 20, what=lambda: f"3 hits: {agent.status()['sites']}")
    assert len(agent.events("target attached")) == 1
    assert len(sites(agent, "hub", None)) == 4


def test_next_agent_finds_the_probes_in_force(keep, watched):
    server = keep(Server()).start()
    server.ask()
    agent = watched({"hub": f"openssl:{server.program}"})
    wait_probed(agent, "hub", server.library()[0])
    agent.pause()
    agent.start()
    assert len(sites(agent, "hub")) == 4
    assert agent.events("target attached") == []
    assert agent.events("a probe does not fire") == []


def test_breakpoint_that_is_gone_is_put_back_by_the_next_agent(keep, watched):
    server = keep(Server()).start()
    server.ask()
    agent = watched({"hub": f"openssl:{server.program}"})
    inode, path = server.library()
    wait_probed(agent, "hub", inode)
    agent.pause()
    offset = sites(agent, "hub")[0]["file_offset"]
    with open(path, "rb") as file:
        file.seek(offset)
        original = file.read(1)
    server.poke(offset, original)
    agent.start()
    event, = agent.events("a probe does not fire")
    assert event["symbol"] == sites(agent, "hub")[0]["symbol"]
    wait_probed(agent, "hub", inode)


def test_upgraded_library_is_probed_and_the_old_one_stays_while_it_runs(keep, watched):
    libraries = keep(Folder("pulltap-libssl-"))
    shutil.copy2(os.path.realpath(LIBRARY), libraries / "libssl.so.3")
    server, other = keep(Server(libraries)), keep(Server(libraries))
    os.unlink(other.program)
    os.link(server.program, other.program)  # a second process of the program
    server.start().ask()
    agent = watched({"hub": f"openssl:{server.program}"})
    old = server.library()[0]
    wait_probed(agent, "hub", old)
    shutil.copy2(os.path.realpath(LIBRARY), libraries / "new")
    os.rename(libraries / "new", libraries / "libssl.so.3")
    other.start().ask()
    new = other.library()[0]
    assert new != old
    wait_probed(agent, "hub", new)
    wait_probed(agent, "hub", old)


def test_program_with_openssl_inside_is_probed_itself(keep, watched, static):
    program, _ = static
    agent = watched({"hub": f"openssl:{program}"})
    process = keep(Kept(Process([program])))
    wait_probed(agent, "hub", os.stat(program).st_ino)
    process.close()


def test_program_on_an_overlay_counts(keep, watched):
    """A container's program, whose device nobody but the kernel knows."""
    server = keep(Server())
    lower = os.path.dirname(server.program)
    for name in ("upper", "work", "merged"):
        server.folder.make("overlay/" + name)
    place = server.folder / "overlay"
    mount = run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={lower},"
                 f"upperdir={place}/upper,workdir={place}/work", f"{place}/merged"], check=False)
    if mount.returncode:
        missing(f"no overlay can be mounted: {mount.stderr}")
    server.program = f"{place}/merged/python3"
    agent = watched({"hub": f"openssl:{server.program}"})
    server.start().ask()
    wait_probed(agent, "hub", server.library()[0])
    before = hits(agent, "hub")
    server.pull(4)
    assert hits(agent, "hub") == before + 4


def test_agent_without_rights_finds_other_users_libraries(keep, watched):
    server = keep(Server())
    agent = watched({"hub": f"openssl:{server.program}"}, "--user", "nobody")
    server.start()
    server.ask()
    wait_probed(agent, "hub", server.library()[0])


def test_way_that_does_not_fit_is_said_and_nothing_is_probed(keep, watched):
    registry = find_program("docker-registry") or missing("docker-registry is not installed")
    folder = keep(Folder("pulltap-way-"))
    program = shutil.copy2(registry, folder / "registry")
    config = folder.write("config.yml", "version: 0.1\nstorage: {inmemory: {}}\n"
                                        f"http: {{addr: '127.0.0.1:{free_port()}'}}\n")
    process = keep(Kept(Process([program, "serve", config], stdout=folder / "out",
                                stderr=folder / "out")))
    agent = watched({"hub": f"nginx:{program}"})
    until(lambda: agent.events("target is not what it was said to be"), 20, what="it is said")
    event, = agent.events("target is not what it was said to be")
    assert (event["way"], event["is"]) == ("nginx", "a Go HTTP server")
    assert agent.status()["sites"] == []
    process.close()


def doctor(target, *more):
    done = pulltap("doctor", "--output", "json", "--target", target, *more, check=False)
    return [check for check in json.loads(done.stdout) if check["check"] in ("openssl", "target")]


def test_doctor_names_library_version_and_what_is_not_probed(keep):
    server = keep(Server()).start()
    server.ask()
    check, = doctor(f"hub=openssl:{server.process.pid}")
    version = run(["openssl", "version"]).stdout.split()[1]
    assert check["verdict"] == "ok"
    assert f"pid {server.process.pid} " in check["found"]
    assert f"{server.library()[1]} (OpenSSL {version}): 4 sites" in check["found"]
    assert check["found"].endswith("not probed: no agent follows it")


def test_doctor_names_the_library_that_is_not_supported(keep):
    process = keep(Kept(Process(["/usr/bin/python3", "-c",
                                 "import ctypes, time; ctypes.CDLL('libgnutls.so.30'); "
                                 "time.sleep(600)"])))
    pid = process.process.pid
    until(lambda: "libgnutls" in pathlib.Path(f"/proc/{pid}/maps").read_text(), 20,
          what="GnuTLS is loaded")
    check, = doctor(f"hub=openssl:{pid}")
    assert check["verdict"] == "FAIL"
    assert "has loaded no OpenSSL, but GnuTLS" in check["found"]
    assert "docs/openssl.md" in check["advice"]


def test_doctor_says_what_is_wrong_with_a_target():
    check, = doctor("hub=opensl:/usr/sbin/haproxy")
    assert check["verdict"] == "FAIL" and "'opensl' is no way in" in check["found"]
