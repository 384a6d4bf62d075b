"""Lists what a package left in its writable places, on the safe side of the pod.

The embedded pod's process 1 runs it, and that of the Docker pod's tracee with the Python of its image: it needs nothing
but the standard library and `sandbox.pod.places`. The package's processes have ended by then, but every name, link and
size is its choice: no link is followed, nothing is opened that could block, and everything is bounded, with a count of
what was left out.

The lines that it writes are the structs of `collector.dropped`; docs/bundle.md says what stands in them.
"""

from __future__ import annotations

import base64
import csv
import errno
import hashlib
import json
import os
import posixpath
import re
import signal
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from sandbox.pod.places import Place, names_in

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

    from sandbox.pod.places import Named

FILE = "dropped.jsonl"
"""What the list is called in the run's directory."""
MAX_SEEN = 100_000
"""Names looked at in one place."""
MAX_LISTED = 2_000
"""Names listed of one place."""
MAX_DEPTH = 48
MAX_PATH = 4096
MAX_HASHED = 256 << 20
"""Bytes read for digests."""
SECONDS = 8.0
"""After so long no more directories are entered and no more digests made."""
LATEST = 20
"""Seconds after which the kernel ends a listing, whatever keeps it."""
HEAD, CONTENT, CONTENTS = 512, 64 << 10, 1 << 20
"""Bytes kept of every file; of a file as long as there is room; and of all files together."""
MAX_RECORD, MAX_RECORDS = 4 << 20, 16 << 20
"""Bytes of one list of installed files, and of all together."""
MAX_CLAIMED = 250_000
"""Files taken from all lists; what they name beyond that counts as left."""
_CHUNK = 1 << 20
_KINDS = {stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket", stat.S_IFCHR: "character", stat.S_IFBLK: "block"}


class Plan(NamedTuple):
    """What is compared with what."""

    places: Mapping[str, str]
    """The writable directories: name in the tracee to path here."""
    planted: Mapping[str, bytes]
    """Content of what was there before, by absolute path in the tracee."""
    links: Mapping[str, str]
    """Symbolic links that were there before, likewise."""
    site_packages: str
    settled: float
    """When the installation had ended, in seconds since the epoch; 0 when there was none. What has not changed since
    and stands in a RECORD is counted as installed."""


class _Entry(NamedTuple):
    path: bytes
    """In the tracee."""
    place: bytes
    parts: tuple[bytes, ...]
    """Below its place."""
    status: os.stat_result


class Listing:
    """One look at all places."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._places = {os.fsencode(name): Place(directory) for name, directory in sorted(plan.places.items())}
        self._planted = {os.fsencode(path): content for path, content in plan.planted.items()}
        self._links = {os.fsencode(path): os.fsencode(target) for path, target in plan.links.items()}
        self._environment = posixpath.normpath(posixpath.join(plan.site_packages, "../../.."))
        home = posixpath.dirname(self._environment)
        self._installers = tuple(os.fsencode(f"{place}/") for place in (self._environment, f"{home}/.cache/pip"))
        self._until = time.monotonic() + SECONDS
        self._entries: list[_Entry] = []
        self._taken: set[bytes] = set()
        """Planted paths that are among the entries already."""
        self._counts = dict.fromkeys(
            ("installed", "caches", "planted", "directories", "unlisted", "unhashed", "faults"), 0
        )
        self._hashable, self._room = MAX_HASHED, CONTENTS
        self._claimed: dict[bytes, int] = {}
        """Size by path of what the lists of installed files name; -1 where they do not say."""

    def write(self, target: BinaryIO) -> None:
        """Write one JSON object a line, the `end` last."""
        gone = self._look_at_planted()
        self._read_records()
        for name, place in self._places.items():
            self._walk(name, place)
        lines: dict[bytes, dict[str, object]] = {}
        # The smallest first: what is prepared for sending is small, and a few large files shall not use up the room.
        for entry in sorted(self._entries, key=lambda entry: (entry.status.st_size, entry.path)):
            try:
                line = self._line(entry)
            except OSError:
                self._counts["faults"] += 1
                line = {"record": "special", "path": _text(entry.path), "type": "unreadable"}
            if line:
                lines[entry.path] = line
            else:
                self._counts["planted"] += 1
        for path in gone:
            lines[path] = {"record": "gone", "path": _text(path)}
        for _, line in sorted(lines.items()):
            _tell(target, line)
        _tell(target, {"record": "end", "ts": round(time.time(), 6), "listed": len(lines), **self._counts})
        for place in self._places.values():
            place.close()

    def _look_at_planted(self) -> list[bytes]:
        """Take what was planted, before a flood of names could hide it; returns what is not there any more."""
        gone = []
        for path in sorted(self._planted.keys() | self._links.keys()):
            name = next((name for name in self._places if path.startswith(name + b"/")), b"")
            place, parts = self._placed(path)
            if place is None:
                continue
            try:
                with place.entered(parts[:-1]) as directory:
                    status = os.stat(parts[-1], dir_fd=directory, follow_symlinks=False)
            except OSError as error:
                if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
                    gone.append(path)
                else:
                    self._counts["faults"] += 1
                continue
            if stat.S_ISDIR(status.st_mode):
                gone.append(path)
            else:
                self._taken.add(path)
                self._entries.append(_Entry(path, name, parts, status))
        return gone

    def _read_records(self) -> None:
        """Take what the RECORD files name that lie where an installer puts them and have not changed since it ended."""
        place, below = self._placed(os.fsencode(self._plan.site_packages))
        if place is None:
            return
        room = MAX_RECORDS
        try:
            with place.entered(below) as directory, os.scandir(directory) as found:
                names = sorted(os.fsencode(entry.name) for entry in found)
        except OSError:
            return
        for name in names:
            if not name.endswith(b".dist-info"):
                continue
            with suppress(OSError, csv.Error), place.opened((*below, name, b"RECORD")) as file:
                status = os.fstat(file.fileno())
                if status.st_size > min(MAX_RECORD, room) or status.st_ctime > self._plan.settled:
                    continue
                content = file.read(MAX_RECORD)
                room -= len(content)
                self._claim(content)

    def _claim(self, record: bytes) -> None:
        base, environment = self._plan.site_packages, self._environment
        for row in csv.reader(record.decode(errors="surrogateescape").splitlines()):
            # Lines of a few bytes would make more of them than memory and time allow.
            if len(self._claimed) >= MAX_CLAIMED or time.monotonic() > self._until:
                return
            path = posixpath.normpath(posixpath.join(base, row[0])) if row else ""
            # The lists themselves are told: who wrote them decides what they are worth.
            if path.startswith(f"{environment}/") and not path.endswith("/RECORD"):
                size = row[2] if len(row) > 2 else ""  # noqa: PLR2004 - path, digest, size
                self._claimed[os.fsencode(path)] = int(size) if re.fullmatch("[0-9]{1,15}", size) else -1

    def _placed(self, path: bytes) -> tuple[Place | None, tuple[bytes, ...]]:
        for name, place in self._places.items():
            if path.startswith(name + b"/"):
                return place, tuple(part for part in path[len(name) + 1 :].split(b"/") if part)
        return None, ()

    def _walk(self, name: bytes, place: Place) -> None:
        """Take the names of a place, directory by directory."""
        seen = listed = 0
        pending: list[tuple[bytes, ...]] = [()]
        while pending:
            parts = pending.pop()
            if time.monotonic() > self._until:
                self._counts["unlisted"] += 1 + len(pending)
                return
            try:
                entries, whole = names_in(place, parts, MAX_SEEN - seen)
            except OSError:
                self._counts["faults"] += 1
                continue
            seen += len(entries)
            self._counts["unlisted"] += not whole
            caches = self._sources(place, parts)
            for own, status in self._fresh(b"/".join((name, *parts, b"")), entries):
                path = b"/".join((name, *parts, own))
                if stat.S_ISDIR(status.st_mode):
                    self._counts["directories"] += 1
                    if len(parts) >= MAX_DEPTH or len(path) > MAX_PATH:
                        self._counts["unlisted"] += 1
                    else:
                        pending.append((*parts, own))
                elif self._is_installed(path, status):
                    self._counts["installed"] += 1
                elif own.split(b".", 1)[0] in caches and self._is_cache(place, (*parts, own), status):
                    self._counts["caches"] += 1
                elif listed >= MAX_LISTED or len(path) > MAX_PATH:
                    self._counts["unlisted"] += 1
                else:
                    listed += 1
                    self._entries.append(_Entry(path, name, (*parts, own), status))

    def _fresh(self, above: bytes, entries: list[Named]) -> list[Named]:
        return [named for named in entries if above + named[0] not in self._taken]

    def _is_installed(self, path: bytes, status: os.stat_result) -> bool:
        size = self._claimed.get(path)
        if size is None or not stat.S_ISREG(status.st_mode) or status.st_ctime > self._plan.settled:
            return False
        return size in (-1, status.st_size)

    def _sources(self, place: Place, parts: tuple[bytes, ...]) -> frozenset[bytes]:
        """Names of the modules whose bytecode a directory `__pycache__` may hold; none in others."""
        if not parts or parts[-1] != b"__pycache__":
            return frozenset()
        try:
            entries, _ = names_in(place, parts[:-1], MAX_SEEN)
        except OSError:
            return frozenset()
        return frozenset(own[:-3] for own, status in entries if own.endswith(b".py") and stat.S_ISREG(status.st_mode))

    def _is_cache(self, place: Place, parts: tuple[bytes, ...], status: os.stat_result) -> bool:
        """Whether a file is what an import leaves: bytecode beside its source."""
        if not parts[-1].endswith(b".pyc") or not stat.S_ISREG(status.st_mode):
            return False
        with suppress(OSError), place.opened(parts) as file:
            return file.read(4)[2:] == b"\r\n"
        return False

    def _line(self, entry: _Entry) -> dict[str, object]:
        """What is told of a file; nothing of one that is as it was planted."""
        place, status = self._places[entry.place], entry.status
        path = _text(entry.path)
        if stat.S_ISLNK(status.st_mode):
            target = place.target(entry.parts)
            known = self._links.get(entry.path)
            return {} if target == known else {"record": "link", "path": path, "target": _text(target)}
        if not stat.S_ISREG(status.st_mode):
            return {"record": "special", "path": path, "type": _KINDS.get(stat.S_IFMT(status.st_mode), "unknown")}
        planted = self._planted.get(entry.path)
        size = status.st_size
        head, digest = self._content(place, entry, size)
        if planted is not None and size == len(planted) and digest == hashlib.sha256(planted).hexdigest():
            return {}
        kept = HEAD
        # Of pip's cache and what it unpacked, the package's files have the content already.
        installed = entry.path.startswith(self._installers) and status.st_ctime <= self._plan.settled
        if not installed and min(size, CONTENT) <= self._room:
            kept = CONTENT
            self._room -= min(size, CONTENT)
        return {
            "record": "file",
            "path": path,
            "size": size,
            "sha256": digest,
            "mode": stat.S_IMODE(status.st_mode),
            "changed": round(status.st_ctime, 6),
            "planted": planted is not None,
            "head": base64.b64encode(head[:kept]).decode(),
        }

    def _content(self, place: Place, entry: _Entry, size: int) -> tuple[bytes, str]:
        """The beginning of a file and its digest; without that when too much has been read already."""
        with place.opened(entry.parts) as file:
            head = file.read(CONTENT)
            if size > self._hashable or time.monotonic() > self._until:
                self._counts["unhashed"] += 1
                return head, ""
            self._hashable -= size
            digest = hashlib.sha256(head)
            left = size - len(head)
            while left > 0 and (chunk := file.read(min(_CHUNK, left))):
                digest.update(chunk)
                left -= len(chunk)
            return head, digest.hexdigest()


def _text(path: bytes) -> str:
    # As the collector writes the paths of a trace.
    return path.decode("utf-8", "backslashreplace")[:MAX_PATH]


def _tell(target: BinaryIO, line: dict[str, object]) -> None:
    target.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")


def write(plan: Plan, path: str) -> None:
    """Look at all places and write what is there to a new file; the process ends if that takes far too long."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(LATEST)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with open(descriptor, "wb") as target:  # noqa: PTH123 - a descriptor
        Listing(plan).write(target)
    signal.alarm(0)
