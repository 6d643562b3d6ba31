# SPDX-License-Identifier: MIT
"""
Stands between the store and the server, cuts the line at a chosen moment and makes chosen
statements fail. It reads the client's messages; what the server says goes through as it is.
"""
import os
import select
import socket
import struct
import threading

# Classes of failures and a code of each that a server may well send.
SQLSTATES = {
    "08": "08006", "22": "22003", "23": "23505", "40": "40001", "40P01": "40P01", "42": "42P01",
    "42501": "42501", "53": "53100", "53200": "53200", "53300": "53300", "54": "54000",
    "55": "55P03", "57": "57014", "57P01": "57P01", "57P03": "57P03", "58": "58030", "XX": "XX000",
    "XX001": "XX001"}
# After these the server ends the session.
FATAL = ("08", "57P")


def take_messages(buffer, started):
    """The whole messages at the buffer's start; what is left stays in it."""
    found = []
    while True:
        kind = 1 if started else 0
        if len(buffer) < kind + 4:
            return found
        size = kind + struct.unpack_from("!I", buffer, kind)[0]
        if len(buffer) < size:
            return found
        found.append(bytes(buffer[:size]))
        del buffer[:size]
        started = True


def statement_of(message):
    """What a client's message is about: a command's first word, or a prepared statement's name."""
    kind, body = message[:1], message[5:]
    if kind == b"Q":
        return body.split(b"\0")[0].split(b" ")[0].decode().lower()
    if kind == b"P":
        return "prepare:" + body.split(b"\0")[0].decode()
    if kind == b"B":
        return body.split(b"\0")[1].decode()
    return None


def failing(sqlstate):
    """A query in place of another, so that the server itself fails, in its own transaction."""
    sql = ("do $$ begin raise exception 'made to fail' using errcode = "
           f"'{sqlstate}'; end $$").encode() + b"\0"
    return b"Q" + struct.pack("!I", len(sql) + 4) + sql


class Proxy:
    """
    cut="commit sent": the COMMIT reaches the server, its answer reaches nobody.
    cut="commit held": the line breaks before the COMMIT gets through.
    None: forwards everything. Cuts once, then forwards; set it again for the next.
    fail(statement, sqlstate): the next such statement fails with that code; failed counts them.
    """

    def __init__(self, folder, target, cut=None):
        self.target, self.cut, self.cuts, self.failed = target, cut, 0, 0
        self.seen = set()
        self._faults = {}
        self.folder = str(folder)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(os.path.join(self.folder, ".s.PGSQL.5432"))
        os.chmod(os.path.join(self.folder, ".s.PGSQL.5432"), 0o777)
        self.listener.listen()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def fail(self, statement, sqlstate):
        self._faults[statement] = sqlstate

    def armed(self):
        return sorted(self._faults)

    def disarm(self):
        self._faults.clear()

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.forward, args=(client,), daemon=True).start()

    def forward(self, client):
        server = socket.socket(socket.AF_UNIX)
        with client, server:
            try:
                server.connect(self.target)
                self._forward(client, server)
            except OSError:
                pass  # a side that goes takes the other along

    def _forward(self, client, server):
        buffer, started, dropping = bytearray(), False, False
        while True:
            for source in select.select([client, server], [], [])[0]:
                data = source.recv(65536)
                if not data:
                    return
                if source is server:
                    client.sendall(data)
                    continue
                buffer += data
                for message in take_messages(buffer, started):
                    started = True
                    if dropping:
                        dropping = message[:1] != b"S"
                        continue
                    statement = statement_of(message)
                    self.seen.add(statement)
                    if statement == "commit" and self.cut:
                        return self._cut(server, message)
                    sqlstate = self._faults.pop(statement, None)
                    if sqlstate is None:
                        server.sendall(message)
                        continue
                    self.failed += 1
                    server.sendall(failing(sqlstate))
                    if sqlstate.startswith(FATAL):
                        client.sendall(server.recv(65536))
                        return
                    dropping = message[:1] != b"Q"

    def _cut(self, server, message):
        if self.cut == "commit sent":
            server.sendall(message)
            server.recv(65536)  # done there
        self.cut = None
        self.cuts += 1

    def close(self):
        self.listener.close()
        os.unlink(os.path.join(self.folder, ".s.PGSQL.5432"))
