# SPDX-License-Identifier: MIT
"""A private PostgreSQL cluster of user postgres, on a unix socket in a temporary folder."""
import glob
import json
import os
import signal
import shutil

from .proc import Failed, Folder, Process, run, until


def server_folder():
    """Where the newest installed server's programs are."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"),
                   key=lambda path: float(path.split("/")[4]))
    if not found:
        raise Failed("no PostgreSQL server is installed (package postgresql)")
    return os.path.dirname(found[-1])


class Postgres:
    PORT = 5432

    def __init__(self, database="pulltap"):
        self.folder = Folder("pulltap-pg-")
        self.bin = server_folder()
        self.data = self.folder / "data"
        self.socket = self.folder.make("socket")
        self.database = database
        self.process = None
        shutil.chown(self.folder.path, "postgres", "postgres")
        shutil.chown(self.socket, "postgres", "postgres")
        run(["setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups", "--",
             f"{self.bin}/initdb", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale", "C",
             "-U", "postgres", "-D", self.data])
        with open(f"{self.data}/postgresql.conf", "a") as config:
            config.write(f"listen_addresses = ''\nunix_socket_directories = '{self.socket}'\n"
                         f"port = {self.PORT}\nmax_connections = 40\nshared_buffers = 64MB\n"
                         "log_line_prefix = '%m [%p] %q%u@%d/%a '\n")

    def hba(self, *lines):
        """Puts lines before the ones that trust everybody; needs start() or reload()."""
        path = f"{self.data}/pg_hba.conf"
        with open(path) as old:
            text = old.read()
        with open(path, "w") as new:
            new.write("\n".join(lines) + "\n" + text)

    def start(self):
        self.process = Process([f"{self.bin}/postgres", "-D", self.data], user="postgres",
                               stdout=self.folder / "log", stderr=self.folder / "log")
        until(self.ready, 60, what=lambda: f"postgres answers\n{self.log()[-3000:]}")
        if self.value(f"select count(*) from pg_database where datname = '{self.database}'",
                      database="postgres") == 0:
            self.execute(f'create database "{self.database}"', database="postgres")
        return self

    def ready(self):
        if not self.process.running():
            raise Failed(f"postgres ended at once:\n{self.log()}")
        return run(["psql", "-XAtqc", "select 1", self.conninfo("postgres")],
                   check=False).returncode == 0

    def stop(self, number=signal.SIGINT):
        """Fast shutdown: open sessions are ended. SIGQUIT: as if it had crashed."""
        if self.process:
            self.process.stop(number, 60)
            self.process = None

    def close(self):
        if self.process:
            self.process.send(signal.SIGQUIT)
            self.process.close()
            self.process = None
        self.folder.close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    def log(self):
        try:
            with open(self.folder / "log", errors="replace") as log:
                return log.read()
        except FileNotFoundError:
            return ""

    def conninfo(self, database=None, user="postgres", **more):
        parts = {"host": self.socket, "port": self.PORT, "user": user,
                 "dbname": database or self.database}
        parts.update(more)
        return " ".join(f"{name}={value}" for name, value in parts.items())

    def execute(self, sql, database=None, timeout=60):
        return run(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-f", "-", self.conninfo(database)],
                   stdin=sql.encode(), timeout=timeout).stdout

    def rows(self, query, database=None):
        """The rows of a query as dicts."""
        text = self.execute(
            f"select coalesce(json_agg(row_to_json(q)), '[]') from ({query}) q;", database)
        return json.loads(text)

    def value(self, query, database=None):
        rows = self.rows(query, database)
        return next(iter(rows[0].values())) if rows else None

    def session(self, sql):
        """A psql that runs sql and stays until it is killed: for locks held on purpose."""
        return Process(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql, self.conninfo()])

    # what pulltap stores

    def tags(self, registry=None):
        return self.rows("select registry, repository, tag, digest, pulls, checks "
                         "from pulltap.tags" + self._where(registry))

    def manifests(self, registry=None):
        return self.rows("select registry, repository, digest, pulls, checks "
                         "from pulltap.manifests" + self._where(registry))

    @staticmethod
    def _where(registry):
        return f" where registry = '{registry}'" if registry else ""
