"""Redis as Debian packages it."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

import redis

from tests.servers import certificates
from tests.servers.process import Server, need


@dataclass(frozen=True, kw_only=True)
class RedisKind:
    """How a Redis is to be."""

    append_only: bool = True
    """Whether what was acknowledged survives `kill`, as it does (`appendfsync always`); else nothing does."""
    users: tuple[str, ...] = ()
    """Rules of its access control list, as in redis.conf: `user NAME on >PASSWORD ~* +@all`. They replace the one
    user without a password; the first is who `url` is for."""
    tls: bool = False
    """Serve TLS on a port of a loopback address, and nothing else; clients need `server.authority`."""
    tcp: bool = False
    """Serve a port of a loopback address instead of a unix socket."""


class RedisServer(Server):
    """One Redis; `url` for a user of its list, `client()` for the administrator."""

    name = "redis"

    def __init__(self, kind: RedisKind) -> None:
        super().__init__()
        self._program = need("redis-server", "redis-server", Path("/usr/bin"))
        self.kind = kind
        self.socket = self.directory / "redis.sock"
        self.authority: Path | None = None
        """PEM file of who signed the server's certificate, when it serves TLS."""
        self.address, self.port = _free_address() if kind.tls or kind.tcp else ("", 0)
        if kind.tls:
            self.authority = certificates.make(self.directory, self.address)
        self._administrator = "tests"
        self.url = self._url()
        self._write_configuration()

    def client(self) -> redis.Redis:
        """A connection as administrator; the caller closes it."""
        if self.kind.tls or self.kind.tcp:
            secured = {"ssl": True, "ssl_ca_certs": str(self.authority)} if self.kind.tls else {}
            return redis.Redis(
                host=self.address, port=self.port, username="administrator", password=self._administrator, **secured
            )
        return redis.Redis(unix_socket_path=str(self.socket), username="administrator", password=self._administrator)

    def _url(self) -> str:
        login = ""
        if self.kind.users:
            _, user, *rules = self.kind.users[0].split()
            login = f"{user}:{next((rule[1:] for rule in rules if rule[0] == '>'), '')}@"
        if self.kind.tls:
            return f"rediss://{login}{self.address}:{self.port}/0?ssl_ca_certs={self.authority}"
        if self.kind.tcp:
            return f"redis://{login}{self.address}:{self.port}/0"
        return f"unix://{login}{self.socket}"

    def _write_configuration(self) -> None:
        tls = self.kind.tls
        lines = [
            f"dir {self.directory}",
            f"port {0 if tls else self.port}",
            f"unixsocket {self.socket}" if not self.port else f"bind {self.address}",
            *([f"tls-port {self.port}", "tls-auth-clients no"] if tls else []),
            *([f"tls-{part}-file {self.directory / f'{part}.pem'}" for part in ("cert", "key")] if tls else []),
            *([f"tls-ca-cert-file {self.authority}"] if tls else []),
            f"appendonly {'yes' if self.kind.append_only else 'no'}",
            "appendfsync always",
            'save ""',
            "maxmemory-policy noeviction",
            f"user administrator on >{self._administrator} ~* &* +@all",
            *(self.kind.users or ("user default on nopass ~* &* +@all",)),
            *(["user default off"] if self.kind.users else []),
        ]
        (self.directory / "redis.conf").write_text("\n".join(lines) + "\n")

    def _command(self) -> list[str]:
        return [str(self._program), str(self.directory / "redis.conf")]

    def _answers(self) -> bool:
        client = self.client()
        try:
            return bool(client.ping())
        except redis.exceptions.ConnectionError:  # starting, or reading its file
            return False
        finally:
            client.close()


def _free_address() -> tuple[str, int]:
    """A loopback address that no other test process uses, and a port that is free there."""
    pid = os.getpid()
    address = f"127.{64 + pid % 64}.{(pid >> 6) % 256}.{1 + (pid >> 14) % 254}"
    with socket.create_server((address, 0)) as taken:
        return address, taken.getsockname()[1]
