# SPDX-License-Identifier: MIT
"""Stands between the store and the server and cuts the line at a chosen moment."""
import os
import select
import socket
import threading


class Proxy:
    """
    cut="commit sent": the COMMIT reaches the server, its answer reaches nobody.
    cut="commit held": the line breaks before the COMMIT gets through.
    None: forwards everything. Cuts once, then forwards.
    """

    def __init__(self, folder, target, cut=None):
        self.target, self.cut, self.cuts = target, cut, 0
        self.folder = str(folder)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(os.path.join(self.folder, ".s.PGSQL.5432"))
        self.listener.listen()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.forward, args=(client,), daemon=True).start()

    def forward(self, client):
        server = socket.socket(socket.AF_UNIX)
        server.connect(self.target)
        with client, server:
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    if source is client and self.cut and b"commit\0" in data:
                        if self.cut == "commit sent":
                            server.sendall(data)
                            server.recv(65536)  # done there
                        self.cut = None
                        self.cuts += 1
                        return
                    (server if source is client else client).sendall(data)

    def close(self):
        self.listener.close()
