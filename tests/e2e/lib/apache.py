# SPDX-License-Identifier: MIT
"""
apache httpd in front of a registry, with or without TLS. Its access log is the truth: one line per
request, written as the request's memory goes.
"""
import os
import re
import shutil
import signal

from .proc import find_program
from .tls_front import Request, TlsFront

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


def _plain(text):
    """What apache's log escaped, as it was."""
    raw = text.decode("latin-1")
    raw = re.sub(r"\\x([0-9a-f]{2})", lambda match: chr(int(match.group(1), 16)),
                 raw.replace('\\"', '"'))
    return raw.encode("latin-1").decode("utf-8", "surrogateescape")


class Apache(TlsFront):
    """
    upstream: port of the registry behind it; binary: another build
    main, server: further lines of the configuration, @folder@ is a folder that its children may
    write to, @upstream@ the registry's URL; modules: further ones
    """

    name = "apache2"
    stop_signal = signal.SIGWINCH  # ends when every request is answered

    def __init__(self, upstream, tls=False, http2=False, mpm="event", binary=None, modules=(),
                 main="", server="ProxyPass / @upstream@/ nocanon"):
        super().__init__(binary or installed())
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

    def argv(self):
        return [self.binary, "-f", self.config, "-DFOREGROUND"]

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
