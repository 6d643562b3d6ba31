# SPDX-License-Identifier: MIT
"""A Redis server of its own on a unix socket, and the few words that tests say to it."""
import os
import socket

from .proc import Failed, Folder, Process, find_program, until


class RedisServer:
    def __init__(self, password=None):
        self.folder = Folder("pulltap-redis-")
        self.socket = self.folder / "socket"
        self.password = password
        self.process = None

    def start(self):
        program = find_program("redis-server")
        if not program:
            raise Failed("redis-server is not installed (package redis-server)")
        arguments = ["--port", "0", "--unixsocket", self.socket, "--unixsocketperm", "777",
                     "--save", "", "--dir", self.folder.path]
        if self.password:
            arguments += ["--requirepass", self.password]
        self.process = Process([program, *arguments], stdout=self.folder / "log",
                               stderr=self.folder / "log")
        until(lambda: os.path.exists(self.socket), 20, what="redis listens")
        return self

    def command(self, *lines):
        """Sends inline commands and returns their answers, one line each."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(self.socket)
            if self.password:
                lines = (f"AUTH {self.password}", *lines)
            client.sendall("".join(line + "\r\n" for line in lines).encode())
            with client.makefile() as answers:
                found = [answers.readline().strip() for _ in lines]
        if any(answer.startswith("-") for answer in found):
            raise Failed(f"{lines}: {found}")
        return found

    def say(self, word, key="pulltap:switch"):
        self.command(f"SET {key} {word}", f"PUBLISH {key} {word}")

    def stop(self):
        if self.process:
            self.process.stop()
            self.process = None

    def close(self):
        self.stop()
        self.folder.close()
