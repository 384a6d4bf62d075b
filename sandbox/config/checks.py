"""Whether what the configuration names can be used from here."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from sqlalchemy.exc import SQLAlchemyError

from collector.located import nearest
from sandbox.config.environment import PREFIX, variables
from sandbox.config.model import ConfigurationFile
from sandbox.config.secrets import redacted
from sandbox.database import NEWER, is_current, is_newer, open_database
from sandbox.errors import SandboxError
from sandbox.evidence import open_evidence
from sandbox.profile import load_profile
from sandbox.redis_server.layout import known_url
from sandbox.redis_server.program import find_program
from sandbox.webhooks.receivers import load_receivers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sandbox.config.load import Effective
    from sandbox.config.model import Configuration, WebhookReceiver

_SQLITE: Final = "sqlite:///"
_ANSWER_S: Final = 5
_LITTLE_MB: Final = 1024


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at."""

    subject: str
    state: Literal["ok", "warning", "unusable", "wrong"]
    """`wrong`: the configuration; `unusable`: what it names does not answer, or not as it should."""
    says: str


def checks(effective: Effective, environment: Mapping[str, str], *, offline: bool) -> Iterator[Check]:
    """Look at everything, one after the other.

    Args:
        effective: The configuration, which could be read.
        environment: In which variables are looked for that mean nothing.
        offline: Whether to leave out what asks a server.
    """
    configuration = effective.configuration
    where = str(effective.file) if effective.file else "there is none; defaults and the environment count"
    yield Check(subject="file", state="ok", says=where)
    yield from _unknown_variables(environment)
    yield _directory("data", configuration.data)
    for name in configuration.worker.profiles:
        yield _tried("profile", lambda name=name: f"{name} is {load_profile(name).name}")  # type: ignore[misc]
    for receiver in configuration.webhooks:
        yield _tried("webhook", lambda receiver=receiver: _webhook(receiver))  # type: ignore[misc]
    if not offline:
        yield _database(configuration)
        yield look_at_redis(configuration)
        yield from _evidence(configuration)


def _tried(subject: str, look: Callable[[], str]) -> Check:
    try:
        return Check(subject=subject, state="ok", says=look())
    except (SandboxError, OSError) as error:
        return Check(subject=subject, state="wrong", says=redacted(str(error)))


def _unknown_variables(environment: Mapping[str, str]) -> Iterator[Check]:
    known = {variable.name for variable in variables()}
    sections = tuple(f"{PREFIX}{name.upper()}_" for name in ConfigurationFile.__struct_fields__)
    for name in sorted(environment):
        if name.startswith(sections) and name not in known:
            says = f"{name} means nothing; {nearest(name, known)}"
            yield Check(subject="environment", state="warning", says=says)


def _directory(subject: str, path: Path) -> Check:
    try:
        there = next((place for place in (path, *path.parents) if place.exists()), Path("/"))
    except PermissionError as error:
        return Check(subject=subject, state="unusable", says=f"{path} cannot be looked at: {error.strerror}")
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return Check(subject=subject, state="unusable", says=f"{path} cannot be written to by this user")
    free = shutil.disk_usage(there).free >> 20
    says = f"{path}{'' if there == path else ' (made when needed)'}, {free:,} MiB free"
    if not free:
        # A full disk, or none at all: /proc and its like let root write, and have no room.
        return Check(subject=subject, state="unusable", says=says)
    return Check(subject=subject, state="warning" if free < _LITTLE_MB else "ok", says=says)


def _webhook(receiver: WebhookReceiver) -> str:
    # Read as the server reads it: what passes here is not refused there.
    load_receivers((receiver,))
    return f"{redacted(receiver.url)}, signed with what {receiver.secret_file} holds"


def _database(configuration: Configuration) -> Check:
    shown = redacted(configuration.database)
    if configuration.database.startswith(_SQLITE):
        path = Path(configuration.database.removeprefix(_SQLITE))
        found = _directory("database", path.parent)
        if found.state == "unusable":
            return msgspec.structs.replace(found, says=f"{shown}: {found.says}")
        if not path.exists():
            return msgspec.structs.replace(found, says=f"{shown}, made at the first start: {found.says}")
    try:
        engine = open_database(configuration.database)
    except SandboxError as error:
        return Check(subject="database", state="wrong", says=str(error))
    try:
        current, newer = is_current(engine), is_newer(engine)
    except SQLAlchemyError as error:
        said = str(getattr(error, "orig", error)).strip().splitlines() or ["no answer"]
        return Check(subject="database", state="unusable", says=f"{shown}: {redacted(said[0])}")
    finally:
        engine.dispose()
    if newer:
        return Check(subject="database", state="unusable", says=f"{shown}: {NEWER}")
    says = "its tables are of this version" if current else "its tables are made or upgraded at the next start"
    return Check(subject="database", state="ok", says=f"{shown}; {says}")


def look_at_redis(configuration: Configuration) -> Check:
    """Whether the Redis of the configuration can be used; our own one: whether it can be started."""
    directory = configuration.data / "redis"
    own = configuration.redis in {"", known_url(directory)}
    if own and not configuration.redis:
        try:
            program = find_program()
        except SandboxError as error:
            return Check(subject="redis", state="unusable", says=str(error))
        says = f"our own, which `fumehood up` starts: {program.path}, version {program.version}"
        return Check(subject="redis", state="ok", says=says)
    shown = redacted(configuration.redis)
    try:
        with Redis.from_url(
            configuration.redis,
            retry=Retry(NoBackoff(), retries=0),
            socket_timeout=_ANSWER_S,
            socket_connect_timeout=_ANSWER_S,
        ) as client:
            client.ping()
            said = client.info()
    except (ValueError, TypeError) as error:
        return Check(subject="redis", state="wrong", says=f"{shown} is no URL of Redis: {redacted(str(error))}")
    except (RedisError, OSError) as error:
        return Check(subject="redis", state="unusable", says=f"{shown}: {redacted(str(error))}")
    faults = []
    if said.get("maxmemory_policy", "noeviction") != "noeviction":
        faults.append(f"it forgets keys when full: set maxmemory-policy noeviction (now {said['maxmemory_policy']})")
    if not said.get("aof_enabled"):
        faults.append("it has no append-only file: what waits is queued again from the database after its restart")
    version = f"{shown}, version {said.get('redis_version', 'unknown')}"
    if faults:
        return Check(subject="redis", state="warning", says="; ".join((version, *faults)))
    return Check(subject="redis", state="ok", says=version)


def _evidence(configuration: Configuration) -> Iterator[Check]:
    if "://" not in configuration.evidence:
        yield _directory("evidence", Path(configuration.evidence))
        return
    try:
        store = open_evidence(configuration.evidence)
    except SandboxError as error:
        yield Check(subject="evidence", state="wrong", says=str(error))
        return
    try:
        holds = "some runs" if next(iter(store.runs()), None) else "no run yet"
    except (SandboxError, OSError) as error:
        yield Check(subject="evidence", state="unusable", says=f"{configuration.evidence}: {redacted(str(error))}")
        return
    yield Check(subject="evidence", state="ok", says=f"{configuration.evidence}, {holds}")
