"""Tokens of the HTTP interface: made, found, revoked. Only the digest of a secret is kept."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

import msgspec
from sqlalchemy import func, insert, or_, select, update
from sqlalchemy.exc import DBAPIError

from sandbox.database import writing
from sandbox.database.faults import passes
from sandbox.database.schema import TOKENS
from sandbox.errors import TokenError
from sandbox.submissions import identifiers

if TYPE_CHECKING:
    from sqlalchemy import Engine, RowMapping

Role: TypeAlias = Literal["submit", "analyst", "admin"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
"""Each may do what those before it may."""
_PREFIX: Final = "fumehood_"
"""So that whoever scans for leaked secrets can know ours."""
_SECRET: Final = re.compile(rf"{_PREFIX}[A-Za-z0-9_-]{{43}}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_MINUTE_S: Final = 60


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A token, without its secret."""

    id: str
    name: str
    role: Role
    created: float
    expires: float | None
    used: float | None
    revoked: float | None


def create(engine: Engine, name: str, role: Role, now: float, lifetime_s: float | None) -> tuple[Token, str]:
    """Make a token.

    Args:
        engine: The database.
        name: Whose it is; stands in what is submitted with it.
        role: What it may do.
        now: UTC seconds since the epoch.
        lifetime_s: How long it holds; `None` for ever.

    Returns:
        The token, and its secret, which cannot be had again.

    Raises:
        TokenError: The name cannot be one.
    """
    if not _NAME.fullmatch(name):
        raise TokenError(f"{name[:80]!a} cannot be a token's name; use up to 64 letters, digits and ._@-")
    secret = _PREFIX + secrets.token_urlsafe(32)
    expires = None if lifetime_s is None else now + lifetime_s
    token = Token(id=identifiers.new(now), name=name, role=role, created=now, expires=expires, used=None, revoked=None)
    with writing(engine) as connection:
        connection.execute(insert(TOKENS), {**msgspec.structs.asdict(token), "sha256": _digest(secret)})
    return token, secret


def find(engine: Engine, secret: str, now: float) -> Token | None:
    """The token of a secret, if it holds; its use is noted."""
    if not _SECRET.fullmatch(secret):
        return None
    digest = _digest(secret)
    with engine.connect() as connection:
        row = connection.execute(select(TOKENS).where(TOKENS.c.sha256 == digest)).mappings().first()
    if row is None:
        return None
    token = _read(row)
    if token.revoked is not None or (token.expires is not None and token.expires <= now):
        return None
    # To the minute: a write for each request would make the database the limit of reading.
    if token.used is None or now - token.used >= _MINUTE_S:
        try:
            with writing(engine) as connection:
                connection.execute(update(TOKENS).where(TOKENS.c.id == token.id).values(used=now))
        except DBAPIError as error:
            # Whoever only reads is not refused because nobody can write just now; the next use is noted.
            if not passes(error):
                raise
    return token


def listed(engine: Engine) -> list[Token]:
    """All tokens, in order of their making."""
    with engine.connect() as connection:
        return [_read(row) for row in connection.execute(select(TOKENS).order_by(TOKENS.c.id)).mappings()]


def revoke(engine: Engine, identifier_or_name: str, now: float) -> int:
    """Revoke the token of this id, or all of this name; from the next request on they hold no more.

    Returns:
        How many that were.

    Raises:
        TokenError: There is none that holds.
    """
    mine = or_(TOKENS.c.id == identifier_or_name, TOKENS.c.name == identifier_or_name)
    with writing(engine) as connection:
        changed = connection.execute(
            update(TOKENS).where(mine, TOKENS.c.revoked.is_(None)).values(revoked=now)
        ).rowcount
    if not changed:
        raise TokenError(f"no token {identifier_or_name[:80]!a} is in force; `fumehood token list` lists them")
    return changed


def any_in_force(engine: Engine, now: float) -> bool:
    """Whether there is a token at all with which somebody could come."""
    with engine.connect() as connection:
        return bool(
            connection.execute(
                select(func.count())
                .select_from(TOKENS)
                .where(TOKENS.c.revoked.is_(None), or_(TOKENS.c.expires.is_(None), TOKENS.c.expires > now))
            ).scalar_one()
        )


def _read(row: RowMapping) -> Token:
    return msgspec.convert({str(name): value for name, value in row.items() if name != "sha256"}, Token)


def _digest(secret: str) -> str:
    # The secret has 256 bits of chance: nothing slower than one round is needed.
    return hashlib.sha256(secret.encode()).hexdigest()
