"""Makes a large bundle out of a recorded one: the same processes do the same again and again, under new numbers.

What a phase's command did between its start and its end is repeated; the pod's set-up and the end stay once. Each
repetition has process ids of its own and Python's files in directories of its own, so that about as many lines are
alike as in what was recorded. Its moments are squeezed into the phase's own time.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import zstandard

from collector.bundle import MANIFEST, Bundle
from collector.manifest import FileEntry
from collector.strace import Call, Group, Text, parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from collector.manifest import Phase

_HEAD = re.compile(rb"([0-9]+)( +)([0-9.]+) ")
_OUTER = re.compile(rb"/\* ([0-9]+) in strace's PID NS \*/")
_PYTHON = re.compile(rb"/python3\.[0-9]+/")


class _Parts(NamedTuple):
    """A trace cut where the phase's own command begins and ends."""

    before: Sequence[bytes]
    body: Sequence[bytes]
    after: Sequence[bytes]


def scale(recorded: Path, lines: int, place: Path) -> int:
    """Write a bundle of about `lines` lines of traces, shared evenly by the phases that have a body.

    Args:
        recorded: A sealed bundle.
        lines: How many are wanted; never fewer than what was recorded.
        place: Where to write it; must not exist.

    Returns:
        How many lines there are.
    """
    bundle = Bundle.open(recorded)
    shutil.copytree(recorded, place)
    traced = [phase for phase in bundle.manifest.phases if phase.trace]
    parts = {phase.trace: _parts(list(bundle.lines(phase.trace)), phase) for phase in traced}
    repeated = sum(bool(part.body) for part in parts.values())
    files = dict(bundle.manifest.files)
    total = 0
    for phase in traced:
        part = parts[phase.trace]
        copies = max(round(lines / repeated / len(part.body)), 1) if part.body else 1
        with zstandard.open(place / phase.trace, "wb") as stream:
            for line in _repeated(part, copies):
                stream.write(line + b"\n")
                total += 1
        files[phase.trace] = _entry(place / phase.trace)
    manifest = msgspec.structs.replace(bundle.manifest, files=files)
    (place / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    return total


def distinct(path: Path) -> float:
    """Say what share of the lines of a bundle's traces differs from all others in more than process and time."""
    bundle = Bundle.open(path)
    seen: set[int] = set()
    total = 0
    for phase in bundle.manifest.phases:
        for line in bundle.lines(phase.trace) if phase.trace else ():
            seen.add(hash(line.split(None, 2)[-1]))
            total += 1
    return len(seen) / max(total, 1)


def _parts(lines: list[bytes], phase: Phase) -> _Parts:
    start = next((item for item in parse(lines) if isinstance(item, Call) and _is_command(item, phase.argv)), None)
    if start is None:
        return _Parts(lines, (), ())
    end = next((number for number, line in enumerate(lines) if _ends(line, start.pid)), len(lines))
    first = max(start.end, start.line)
    return _Parts(lines[:first], lines[first:end], lines[end:])


def _is_command(call: Call, argv: tuple[str, ...]) -> bool:
    arguments = call.arguments() if call.name == "execve" and call.result == 0 else None
    if not arguments or len(arguments) < 2 or not isinstance(arguments[1].value, Group):
        return False
    texts = [item.value.value for item in arguments[1].value.items if isinstance(item.value, Text)]
    return [text.decode("utf-8", "replace") for text in texts[:4]] == list(argv[:4])


def _ends(line: bytes, pid: int) -> bool:
    head = _HEAD.match(line)
    return head is not None and int(head[1]) == pid and line[head.end() :].startswith(b"+++ ")


def _repeated(parts: _Parts, copies: int) -> Iterator[bytes]:
    yield from parts.before
    if parts.body:
        heads = [_HEAD.match(line) for line in (*parts.before, *parts.body)]
        known = {int(head[1]) for head in heads[: len(parts.before)] if head}
        step = max(int(head[1]) for head in heads if head) + 1
        times = [float(head[3]) for head in heads[len(parts.before) :] if head]
        start, length = min(times), max(times) - min(times)
        for copy in range(copies):
            shift, own = copy * step, b"%%b_%d/" % copy
            for line, head in zip(parts.body, heads[len(parts.before) :], strict=True):
                if head is None:
                    yield line
                    continue
                pid = int(head[1])
                ts = start + (float(head[3]) - start + copy * length) / copies
                rest = line[head.end() :]
                if copy:
                    rest = _PYTHON.sub(lambda match, own=own: own % match[0], rest)
                    rest = _OUTER.sub(
                        lambda match, by=shift: b"/* %d in strace's PID NS */" % (int(match[1]) + by), rest
                    )
                yield b"%d%s%.9f %s" % (pid if pid in known else pid + shift, head[2], ts, rest)
    yield from parts.after


def _entry(path: Path) -> FileEntry:
    content = path.read_bytes()
    return FileEntry(sha256=hashlib.sha256(content).hexdigest(), size=len(content))
