"""The commonest call in its commonest form, read by what stands around the quotes of its path.

Four lines of a trace in five are an `openat` of a whole path from the working directory. What comes before the path
and what comes after it are each one of a few texts, which are read once. All else, and whatever is only a little
unusual, is left to the tokenizer.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import msgspec

from collector.brief import Reading, Setting, setting_of
from collector.events import FileWrite, Source
from collector.syscalls.opens import Asked, asked_by
from collector.syscalls.paths import absolute, decoded, opened_path

_USUAL: Final = b"openat(AT_FDCWD</"
"""Begins such a call."""
_BEFORE: Final = re.compile(rb"openat\(AT_FDCWD<(/[^<>\\]*)>, \Z")
"""The working directory."""
_AFTER: Final = re.compile(rb", ([A-Z_|]++)(?:, 0[0-7]*+)?\) += (?:([0-9]{1,10})|-1 ([A-Z][A-Z0-9]++) [^\n]*+)\Z")
"""Flags; result; errno of a failure."""
_BRACKETS: Final = 4
"""Angle brackets of a call with two paths that have none."""
_REMEMBERED: Final = 1 << 12
"""Texts of which is known what they lead to: programs open the same files again and again. Twice as many are no
quicker, since they have no room in a processor's cache."""
_LONGEST: Final = 1 << 10
"""Bytes of the longest text that is kept; so what is kept is bounded."""


class Usual(msgspec.Struct, frozen=True, gc=False):
    """What a call leads to, whoever of the package makes it and when."""

    cwd: str
    path: str
    number: int | None
    """The descriptor that was given out."""
    closes: bool
    """An exec closes it."""
    reading: Reading | None
    write: FileWrite | None
    """An event without moment, process and line."""


IDLE: Final = Usual("", "", None, closes=False, reading=None, write=None)
"""What a call leads to that leads to nothing."""


class _After(NamedTuple):
    """What the text after a path says."""

    asked: Asked
    closes: bool
    number: int | None
    """What the call gave out, None when it failed."""
    setting: Setting


class UsualCalls(dict[bytes, Usual]):
    """What the latest texts of calls lead to."""

    def __init__(self, phase: str, file: str) -> None:
        """Begin.

        Args:
            phase: The phase of the trace.
            file: Its name in the bundle.
        """
        super().__init__()
        self._phase = phase
        self._source = Source(file, 0)
        self._before: dict[bytes, str] = {}
        self._after: dict[bytes, _After] = {}

    def idle(self, text: bytes) -> None:
        """Take note of a call that leads to nothing."""
        if len(text) <= _LONGEST:
            if len(self) >= _REMEMBERED:
                self.clear()
            self[text] = IDLE

    def knows(self, text: bytes) -> bool:
        """Say whether it is known what a text leads to, after having read it if need be."""
        return text in self or self.learn(text) is not None

    def learn(self, text: bytes) -> Usual | None:
        """Read a text that is not known; None when it is no `openat` in its usual form."""
        parts = text.split(b'"') if text.startswith(_USUAL) else ()
        # A backslash may be an escape, also of a quote.
        if len(parts) != 3 or b"\\" in text or len(text) > _LONGEST:  # noqa: PLR2004 - before, between, after
            return None
        before, asked, rest = parts
        after, _, target = rest.partition(b"<")
        cwd = self._before.get(before) or self._directory(before)
        how = self._after.get(after) or self._how(after)
        if cwd is None or how is None:
            return None
        if how.number is None:
            if target:
                return None
            path = absolute(decoded(asked), cwd)
        elif target[:1] != b"/" or target[-1:] != b">" or text.count(b"<") + text.count(b">") != _BRACKETS:
            return None
        else:
            path = str(target[:-1], "utf-8", "backslashreplace")
            if path.startswith("/proc/"):
                path = opened_path(absolute(decoded(asked), cwd), path)
        if path.endswith("/mem"):
            # It may be the memory of a process.
            return None
        usual = Usual(
            cwd,
            path,
            how.number,
            how.closes,
            Reading(path, how.setting) if how.asked.reads else None,
            self._written(path, how) if how.asked.writes else None,
        )
        if len(self) >= _REMEMBERED:
            self.clear()
        self[text] = usual
        return usual

    def _written(self, path: str, how: _After) -> FileWrite:
        return FileWrite(
            phase=self._phase, source=self._source, path=path, errno=how.setting.errno, created=how.asked.creates
        )

    def _directory(self, before: bytes) -> str | None:
        match = _BEFORE.match(before)
        if match is None:
            return None
        if len(self._before) >= _REMEMBERED:
            self._before.clear()
        cwd = self._before[before] = decoded(match[1])
        return cwd

    def _how(self, after: bytes) -> _After | None:
        match = _AFTER.match(after)
        if match is None:
            return None
        if len(self._after) >= _REMEMBERED:
            self._after.clear()
        flags, result, errno = match.groups()
        how = self._after[after] = _After(
            asked_by(flags),
            closes=b"O_CLOEXEC" in flags,
            number=None if result is None else int(result),
            setting=setting_of(self._phase, self._source.file, "" if errno is None else errno.decode("ascii")),
        )
        return how
