# SPDX-License-Identifier: MIT
"""
apache httpd in front of a registry, with or without TLS. Its access log is the truth: one line per
request, written as the request's memory goes.
"""
import os
import re
import shutil
import signal

from .frontends import REQUESTS
from .proc import REPOSITORY_ROOT, find_program, run
from .tls_front import Request, TlsFront

BUILDS = os.path.join(os.environ.get("PULLTAP_BUILD", os.path.join(REPOSITORY_ROOT, "build")),
                      "cache", "apache")
FETCH = os.path.join(REPOSITORY_ROOT, "tests", "e2e", "servers", "apache", "fetch.sh")
# all of them for `make test-frontends`
SUITES = ("bullseye", "trixie", "sid") if REQUESTS >= 50000 else ("trixie",)
PATH = "/usr/sbin/apache2"
MODULES = "/usr/lib/apache2/modules"
_ALWAYS = ("authz_core", "alias", "headers", "rewrite", "setenvif", "proxy", "proxy_http")

_CONFIG = """
ServerRoot {folder}
ServerName localhost
Listen {host}
PidFile {folder}/apache.pid
DefaultRuntimeDir {folder}
Mutex file:{folder}
ErrorLog {folder}/error.log
LogLevel warn
User www-data
Group www-data
{modules}
StartServers 2
<IfModule mpm_event_module>
	ThreadsPerChild 16
	MaxRequestWorkers 64
</IfModule>
<IfModule mpm_prefork_module>
	MaxRequestWorkers 64
</IfModule>
KeepAlive On
MaxKeepAliveRequests 0
DocumentRoot {folder}
LogFormat "%a %>s %H \\"%{{Docker-Content-Digest}}o\\" %r" truth
CustomLog {folder}/access.log truth
ProxyPreserveHost On
{tls}
{main}
{server}
"""


def installed():
    """Debian's apache, or None."""
    return find_program("apache2")


def fetched():
    """Folders of other builds and of headers by their suites, fetched when missing; what failed."""
    done = run([FETCH, BUILDS, *SUITES], check=False, timeout=540)
    builds = {suite: os.path.join(BUILDS, suite) for suite in SUITES
              if os.path.exists(os.path.join(BUILDS, suite) + PATH)}
    headers = os.path.join(BUILDS, "headers")
    return builds, {suite: os.path.join(headers, suite, "usr", "include")
                    for suite in (os.listdir(headers) if os.path.isdir(headers) else ())
                    }, done.stderr


def _plain(text):
    """What apache's log escaped, as it was."""
    raw = text.decode("latin-1")
    raw = re.sub(r"\\x([0-9a-f]{2})", lambda match: chr(int(match.group(1), 16)),
                 raw.replace('\\"', '"'))
    return raw.encode("latin-1").decode("utf-8", "surrogateescape")


class Apache(TlsFront):
    """
    upstream: port of the registry behind it; binary: another build; root: a folder with another
    build and all that it needs
    main, server: further lines of the configuration, @folder@ is a folder that its children may
    write to, @upstream@ the registry's URL; modules: further ones
    """

    name = "apache2"
    stop_signal = signal.SIGWINCH  # ends when every request is answered

    def __init__(self, upstream, tls=False, http2=False, mpm="event", binary=None, root=None,
                 modules=(), main="", server="ProxyPass / @upstream@/ nocanon"):
        super().__init__(binary or (root + PATH if root else installed()))
        self.root = self._enter(root) if root else None
        work = self.folder.make("work")
        shutil.chown(work, "www-data", "www-data")
        wanted = ["mpm_" + mpm, *_ALWAYS, *modules]
        lines = []
        if http2:
            wanted.append("http2")
            lines.append("Protocols h2 h2c http/1.1")
        if tls:
            wanted += ["socache_shmcb", "ssl"]
            lines += ["SSLEngine on", f"SSLCertificateFile {self.certificate}",
                      f"SSLCertificateKeyFile {self.key}",
                      f"SSLSessionCache shmcb:{self.folder.path}/sessions"]
        else:
            self.tls, self.ca, self.url = False, None, f"http://{self.host}"
        modules = "\n".join(f"LoadModule {name}_module {MODULES}/mod_{name}.so"
                            for name in wanted)
        self._text = _CONFIG.format(
            folder=self.folder.path, host=self.host, modules=modules, tls="\n".join(lines),
            main=main, server=server).replace("@folder@", work).replace(
                "@upstream@", f"http://127.0.0.1:{upstream}")

    def configure(self):
        self.config = self.folder.write("apache.conf", self._text)

    def _enter(self, root):
        """A copy of the root, so that what is probed is this test's own; in it the folder is where
        it is outside."""
        copy = self.folder / "root"
        shutil.copytree(root, copy, symlinks=True)
        self.binary = copy + PATH
        inner = copy + self.folder.path
        os.makedirs(inner)
        run(["mount", "--bind", self.folder.path, inner])
        os.makedirs(copy + "/dev", exist_ok=True)
        for name in ("/dev/null", "/dev/urandom"):
            with open(copy + name, "w"):
                run(["mount", "--bind", name, copy + name])
        return copy

    def argv(self):
        inner = ["chroot", self.root, PATH] if self.root else [self.binary]
        return [*inner, "-f", self.config, "-DFOREGROUND"]

    def others(self):
        """Its children."""
        with open(f"/proc/{self.pid}/task/{self.pid}/children") as file:
            return [int(pid) for pid in file.read().split()]

    def reload(self):
        """Other children take over, the old ones end with their last request."""
        os.kill(self.pid, signal.SIGUSR1)

    def parse(self, line):
        remote, status, proto, rest = line.split(b" ", 3)
        digest, rest = rest[1:].split(b'" ', 1)
        words = _plain(rest).split(" ")
        return Request(remote.decode(), words[0], words[1] if len(words) > 1 else "",
                       int(status), "" if digest == b"-" else digest.decode(), proto.decode())
