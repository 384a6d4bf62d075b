"""What `fumehood serve` and `fumehood token ...` do."""

from __future__ import annotations

import signal
import socket
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

import click
import msgspec

from sandbox import tokens
from sandbox.database import open_database, upgrade
from sandbox.errors import ConfigurationError
from sandbox.observability import logs
from sandbox.standard_output import write

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI
    from sqlalchemy import Engine

    from sandbox.config import Configuration
    from sandbox.tokens import Role, Token

_DAY_S: Final = 86_400
_KEEP_ALIVE_S: Final = 15
_GRACE_S: Final = 10
_MOST_AT_ONCE: Final = 512
"""Connections; more are answered 503 at once."""
_MOST_HEADER_BYTES: Final = 32 * 1024


def serve(configuration: Configuration, *, host: str | None, port: int | None) -> int:
    """Offer the HTTP interface until a signal ends it."""
    import uvicorn

    from sandbox.api.app import create_app
    from sandbox.api.service import open_service

    logs.configure()
    with _listen(host or configuration.api.host, configuration.api.port if port is None else port) as listening:
        prepare(configuration)
        ending: list[uvicorn.Server] = []
        service = open_service(configuration, stopping=lambda: ending[0].should_exit)
        server = uvicorn.Server(server_configuration(create_app(service)))
        ending.append(server)
        click.echo(f"fumehood serves {_url(listening)}/api/v1", err=True)
        if not tokens.any_in_force(service.engine, time.time()):
            click.echo("no token is in force yet; make one: fumehood token create me --role admin", err=True)
        for number in (signal.SIGINT, signal.SIGTERM):
            # The server hears them while it runs, ends in order, and raises them again: that has then been seen to.
            signal.signal(number, lambda _number, _frame: None)
        server.run(sockets=[listening])
    return 0


def server_configuration(app: FastAPI) -> uvicorn.Config:
    """How the server is run: bounded, and without trust in headers that say who is at the other end."""
    import uvicorn

    from sandbox.api.protocol import Protocol

    return uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_MOST_AT_ONCE,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
        h11_max_incomplete_event_size=_MOST_HEADER_BYTES,
    )


def create_token(configuration: Configuration, name: str, role: Role, days: int | None) -> int:
    """Make a token and print its secret."""
    lifetime = None if days is None else float(days * _DAY_S)
    made, secret = tokens.create(prepare(configuration), name, role, time.time(), lifetime)
    until = "until it is revoked" if made.expires is None else f"until {_day(made.expires)}"
    click.echo(f"token {made.id} for {made.name}, role {made.role}, {until}; the secret is shown this once:", err=True)
    write([secret.encode() + b"\n"])
    return 0


def list_tokens(configuration: Configuration, form: Literal["text", "json"]) -> int:
    """List tokens."""
    found = tokens.listed(prepare(configuration))
    if form == "json":
        write([msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n"])
        return 0
    now = time.time()
    for it in found:
        used = "never used" if it.used is None else f"used {_day(it.used)}"
        write([f"{it.id}  {it.role:<8} {it.name:<24} {_standing(it, now):<20} {used}\n".encode()])
    if not found:
        click.echo("there are no tokens; make one: fumehood token create NAME", err=True)
    return 0


def revoke_tokens(configuration: Configuration, identifier_or_name: str) -> int:
    """Revoke tokens."""
    revoked = tokens.revoke(prepare(configuration), identifier_or_name, time.time())
    click.echo(f"{revoked} token{'s' if revoked > 1 else ''} revoked", err=True)
    return 0


def prepare(configuration: Configuration) -> Engine:
    """The database, with the tables of this version."""
    if configuration.database.startswith("sqlite"):
        try:
            configuration.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            hint = "set FUMEHOOD_DATA, or `data:` of the configuration, to a directory of yours"
            raise ConfigurationError(f"{configuration.data} cannot be used: {error.strerror}; {hint}") from error
    engine = open_database(configuration.database)
    upgrade(engine)
    return engine


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(socket.SOMAXCONN)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {host} port {port}: {error.strerror}; choose another with --host and --port"
        ) from error
    return listening


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _standing(token: Token, now: float) -> str:
    if token.revoked is not None:
        return f"revoked {_day(token.revoked)}"
    if token.expires is None:
        return "no expiry"
    return f"{'expired' if token.expires <= now else 'until'} {_day(token.expires)}"


def _day(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d")
