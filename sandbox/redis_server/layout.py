"""What is in the directory of our Redis, and its configuration."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import tempfile
from pathlib import Path
from typing import Final

from sandbox.errors import RedisServerError

USER: Final = "fumehood"
_SOCKET_BYTES: Final = 100
"""The kernel takes 107 as the path of a unix socket."""
_MEMORY_MB: Final = 1024

# RQ needs no more: its keys and channels; `info` and `client` for the version and its own name and address. What
# flushes, configures, debugs, replicates, lists all keys or loads modules is @admin or @dangerous.
_RULES: Final = (
    "~fumehood:* ~rq:* resetchannels &fumehood:* &rq:* +@all -@admin -@dangerous +info +client|setname +client|info"
)


def known_url(directory: Path) -> str:
    """The URL of the Redis that was last started in a directory; empty when none ever was, or it was stopped."""
    try:
        return (directory / "url").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def private_directory(path: Path) -> Path:
    """Make a directory that only this user can look into.

    Raises:
        RedisServerError: It is somebody else's, or cannot be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise RedisServerError(f"{path} is not a directory of this user: remove it, or choose another `data`")
        path.chmod(0o700)
    except OSError as error:
        raise RedisServerError(f"{path} cannot be made: {error.strerror}; choose another `data`") from error
    return path


def password(directory: Path) -> str:
    """The password of our user, made at the first start."""
    path = directory / "password"
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32))
    return path.read_text(encoding="ascii").strip()


def write_private(path: Path, text: str) -> None:
    """Write a whole file that only this user can read."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)
    new.replace(path)


def socket_path(directory: Path) -> Path:
    """Where the socket is: in the directory, unless its path is too long for the kernel."""
    path = directory / "redis.sock"
    if len(os.fsencode(path)) <= _SOCKET_BYTES:
        return path
    name = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    return private_directory(Path(tempfile.gettempdir()) / f"fumehood-{os.geteuid()}-{name}") / "redis.sock"


def redis_conf(directory: Path, socket: Path, secret: str) -> str:
    """The server's configuration; of the password it holds the digest alone."""
    digest = hashlib.sha256(secret.encode()).hexdigest()
    settings = (
        ("dir", _quoted(directory)),
        ("port", "0"),
        ("unixsocket", _quoted(socket)),
        ("unixsocketperm", "600"),
        ("databases", "1"),
        ("appendonly", "yes"),
        # The rows of the database are the truth, so that a second may be lost: it is queued again.
        ("appendfsync", "everysec"),
        ("save", '""'),
        ("maxmemory", f"{_MEMORY_MB}mb"),
        ("maxmemory-policy", "noeviction"),
        ("user", "default off"),
        ("user", f"{USER} on #{digest} {_RULES}"),
    )
    return "".join(f"{key} {value}\n" for key, value in settings)


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
