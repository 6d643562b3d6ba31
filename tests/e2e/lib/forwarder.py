# SPDX-License-Identifier: MIT
"""nginx as a plain proxy before a registry, with a configuration and a folder of its own."""
from .proc import Failed, Folder, Process, find_program, free_port, listening, until

_CONFIG = """
daemon off;
user root;
worker_processes 2;
pid {folder}/pid;
error_log {folder}/error.log notice;
events {{ worker_connections 1024; }}
http {{
	access_log off;
	client_body_temp_path {folder}/body;
	proxy_temp_path {folder}/proxy;
	fastcgi_temp_path {folder}/fastcgi;
	uwsgi_temp_path {folder}/uwsgi;
	scgi_temp_path {folder}/scgi;
	upstream registry {{ server 127.0.0.1:{upstream}; keepalive 16; }}
	server {{
		listen 127.0.0.1:{port};
		location / {{
			proxy_pass http://registry;
			proxy_http_version 1.1;
			proxy_bind {address};
			proxy_set_header Connection "";
			proxy_set_header Host $http_host;
			{lines}
		}}
	}}
}}
"""


class Forwarder:
    """address: where its connections to the registry come from; lines: of its location."""

    def __init__(self, upstream, lines, address="127.0.0.1"):
        self.program = find_program("nginx")
        if not self.program:
            raise Failed("nginx is not installed (package nginx)")
        self.folder = Folder("pulltap-forwarder-")
        self.port = free_port()
        self.process = None
        self._config = self.folder.write("nginx.conf", _CONFIG.format(
            folder=self.folder.path, upstream=upstream, port=self.port, address=address,
            lines=lines))

    def start(self):
        self.process = Process([self.program, "-e", self.folder / "error.log", "-p",
                                self.folder.path, "-c", self._config],
                               stdout=self.folder / "out", stderr=self.folder / "out")
        until(lambda: listening(self.port), 20, what="nginx listens")
        return self

    def close(self):
        if self.process:
            self.process.close()
            self.process = None
        self.folder.close()
