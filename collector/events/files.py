"""Events of files."""

from __future__ import annotations

from collector.events.event import Event


class FileRead(Event, frozen=True, kw_only=True, tag="file.read"):
    """A file was opened for reading."""

    path: str


class FileWrite(Event, frozen=True, kw_only=True, tag="file.write"):
    """A file was opened for writing, created or truncated."""

    path: str
    created: bool = False
    """The open asked for creation (O_CREAT)."""


class FileDelete(Event, frozen=True, kw_only=True, tag="file.delete"):
    """A file or directory was removed."""

    path: str


class FileRename(Event, frozen=True, kw_only=True, tag="file.rename"):
    """A file was moved; `path` is the new name."""

    path: str
    old: str


class FileLink(Event, frozen=True, kw_only=True, tag="file.link"):
    """A link was made at `path`."""

    path: str
    target: str
    symbolic: bool = False


class FileMode(Event, frozen=True, kw_only=True, tag="file.mode"):
    """Permissions were changed; `mode` in octal, e.g. `0755`."""

    path: str
    mode: str


class FileOwner(Event, frozen=True, kw_only=True, tag="file.owner"):
    """The owner of a file was changed; -1 leaves the one or the other as it is."""

    path: str
    owner: int
    group: int


class FileDropped(Event, frozen=True, kw_only=True, tag="file.dropped"):
    """Something was there when the run ended, and neither planted nor put there by the installer."""

    path: str
    type: str
    """Of a file, what its content is: `elf`, `shell-script`, `python`, `zip`, `private-key`, `text`, `data`, ...
    (`collector.magic`); else `link`, `fifo`, `socket`, `character`, `block`, `unknown` or `unreadable`."""
    size: int = 0
    """Bytes."""
    sha256: str = ""
    mode: str = ""
    """Permissions in octal, e.g. `0755`."""
    target: str = ""
    """Of a link."""
    planted: bool = False
    """It was planted, and its content has changed."""
    bait: tuple[str, ...] = ()
    """Bait found in its first bytes, as `name/encoding`."""
