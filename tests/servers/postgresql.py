"""PostgreSQL as Debian packages it. It refuses to be root's: root starts it as another user."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
from pathlib import Path

import psycopg
from psycopg import sql

from tests.servers.process import Server, ServerError, need

_USER = "fumehood"


class PostgreSQL(Server):
    """One cluster; `url` is of the database that is always there, for the administrator."""

    name = "pg"

    def __init__(self) -> None:
        super().__init__()
        self._owner = _unprivileged() if os.geteuid() == 0 else None
        newest_first = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -float(path.parent.name))
        self._programs = need("initdb", "postgresql", *newest_first).parent
        self._data = self.directory / "data"
        self.url = self.url_of("postgres")
        if self._owner:
            shutil.chown(self.directory, self._owner.pw_uid, self._owner.pw_gid)
        options = f"--auth trust --username {_USER} --encoding UTF8 --locale C --no-sync".split()
        made = subprocess.run(
            ["setpriv", *self._identity(), self._programs / "initdb", "--pgdata", self._data, *options],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.directory,
        )
        if made.returncode != 0:
            raise ServerError(f"initdb: {made.stderr}")

    def url_of(self, database: str) -> str:
        """The URL of one of its databases."""
        return f"postgresql://{_USER}@/{database}?host={self.directory}"

    def create_database(self, template: str = "") -> str:
        """Make a database, empty or a copy of another one's URL, to which nobody may be connected; its URL."""
        name = f"test_{secrets.token_hex(6)}"
        source = _name(template) if template else "template1"
        made = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(source))
        with self._connect() as connection:
            connection.execute(made)
        return self.url_of(name)

    def drop_database(self, url: str) -> None:
        """Remove a database, and end whoever is connected to it."""
        with self._connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(_name(url))))

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(self.url, autocommit=True)

    def _command(self) -> list[str]:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.directory),
            "fsync": "off",  # the machine does not lose power, only processes are killed
            "max_connections": "200",
            "shared_buffers": "16MB",
            "autovacuum": "off",
        }
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        return [str(self._programs / "postgres"), "-D", str(self._data), *options]

    def _identity(self) -> tuple[str, ...]:
        if self._owner is None:
            return ()
        return ("--reuid", str(self._owner.pw_uid), "--regid", str(self._owner.pw_gid), "--clear-groups")

    def _stop_signal(self) -> signal.Signals:
        return signal.SIGINT  # "fast": does not wait for clients

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:  # starting, or recovering
            return False
        return True


def _name(url: str) -> str:
    return url.partition("@/")[2].partition("?")[0]


def _unprivileged() -> pwd.struct_passwd:
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]
