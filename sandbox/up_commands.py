"""What `fumehood up` does."""

from __future__ import annotations

import fcntl
import os
import socket
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec

from sandbox import tokens
from sandbox.config.checks import look_at_redis
from sandbox.config.secrets import redacted
from sandbox.errors import ConfigurationError, RedisServerError
from sandbox.queue.work import load_profiles
from sandbox.redis_server.layout import known_url, write_private
from sandbox.service_commands import prepare
from sandbox.up.machine import Machine, OwnRedis
from sandbox.up.part import Part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.config import Configuration

_TOKEN_S: Final = 365 * 86_400
_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not listened on


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says."""

    host: str | None
    port: int | None
    slots: int | None
    sweeps: bool
    config: Path | None


def up(configuration: Configuration, wish: Wish) -> int:
    """Run everything until told to stop."""
    with _alone(configuration.data):
        _check(configuration)
        host = wish.host or configuration.api.host
        port = _port(host, configuration.api.port if wish.port is None else wish.port)
        token = _first_token(configuration)
        redis, version = _own_redis(configuration)
        parts = _parts(wish, host, port)
        machine = Machine(parts, redis, os.environ, _tell)
        address = (_ANYWHERE.get(host, host), port)
        return machine.run(address, lambda: _welcome(configuration, wish, address, version, token))


def _parts(wish: Wish, host: str, port: int) -> list[Part]:
    """In the order in which they are stopped."""
    config = ["--config", str(wish.config)] if wish.config else []
    slots = ["--slots", str(wish.slots)] if wish.slots else []
    sweeps = [Part("the schedule of sweeps", ["sweep", "schedule", *config], orphaned="TERM")] if wish.sweeps else []
    return [
        *sweeps,
        Part("the HTTP interface", ["serve", "--host", host, "--port", str(port), *config], orphaned="KILL"),
        Part("the worker", ["worker", *slots, *config], orphaned="TERM"),
    ]


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Hold the directory against another `fumehood up`."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"{directory} cannot be made: {error.strerror}; set FUMEHOOD_DATA to a directory of yours"
        ) from error
    with (directory / "up.lock").open("a+b") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            who = lock.read(32).decode("ascii", "replace").strip()
            raise ConfigurationError(
                f"`fumehood up` runs with {directory} already (process {who}): stop that one, or set FUMEHOOD_DATA"
            ) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n".encode())
        lock.flush()
        yield


def _port(host: str, port: int) -> int:
    """The port, or one that is free; tried here, since its server would say so much later."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
            return int(tried.getsockname()[1])
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {host} port {port}: {error.strerror}; choose another with --host and --port"
        ) from error


def _check(configuration: Configuration) -> None:
    """Refuse what cannot work before anything is started: parts that end again and again are no answer.

    Raises:
        ConfigurationError: A profile is not there, or the evidence has no place.
        RedisServerError: The Redis of the configuration does not answer.
    """
    load_profiles(configuration)
    if "://" not in configuration.evidence:
        try:
            Path(configuration.evidence).mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"{configuration.evidence} cannot be made: {error.strerror}; "
                "name another directory for evidence (`evidence:` in the configuration, FUMEHOOD_EVIDENCE)"
            ) from error
    redis = look_at_redis(configuration)
    if redis.state in {"wrong", "unusable"} and not _is_own(configuration):
        raise RedisServerError(f"the configured Redis cannot be used: {redis.says}; start it, or leave `redis` out")


def _is_own(configuration: Configuration) -> bool:
    # The URL of ours may be left from a start that was killed.
    return configuration.redis in {"", known_url(configuration.data / "redis")}


def _own_redis(configuration: Configuration) -> tuple[OwnRedis | None, str]:
    directory = configuration.data / "redis"
    if not _is_own(configuration):
        return None, ""
    redis = OwnRedis(directory)
    return redis, redis.start()


def _first_token(configuration: Configuration) -> Path | None:
    """Make the administrator's token where there is none in force; the file that holds its secret."""
    engine = prepare(configuration)
    try:
        if tokens.any_in_force(engine, time.time()):
            return None
        _, secret = tokens.create(engine, "first-admin", "admin", time.time(), _TOKEN_S)
    finally:
        engine.dispose()
    path = configuration.data / "admin-token"
    write_private(path, f"{secret}\n")
    return path


def _welcome(
    configuration: Configuration, wish: Wish, address: tuple[str, int], version: str, token: Path | None
) -> None:
    host, port = address
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    own = f"its own, {version}" if version else "as configured"
    lines = [
        f"fumehood is up: {url}/api/v1  (description: {url}/api/v1/openapi.json)",
        f"  database  {redacted(configuration.database)}",
        f"  evidence  {configuration.evidence}",
        f"  redis     {own}",
        f"  sweeps    {'by their schedules' if wish.sweeps else 'none (--sweeps)'}",
    ]
    if token is not None:
        lines.append(f"  token     {token}  (for the administrator, a year; `fumehood token create` makes others)")
        if sys.stderr.isatty():
            lines.append(f"            {token.read_text(encoding='ascii').strip()}")
    lines += [
        "try in another terminal:",
        "  fumehood submit pkg:pypi/six --wait",
        "Ctrl-C stops everything in order; what waits is there at the next start.",
    ]
    click.echo("\n".join(lines), err=True)


def _tell(line: str) -> None:
    click.echo(f"fumehood up: {line}", err=True)
