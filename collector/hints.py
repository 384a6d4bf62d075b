"""What a package looked for and did not find: what to give it in the next run.

Only what makes a traced system call is seen: a failed execution and a failed opening. A shell, or `shutil.which`, looks
a program up by `stat` and executes nothing; an environment variable is read without any call.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

import msgspec

from collector.events import AnyEvent, FileRead, ProcessExec, ProcessExit, Source
from collector.redact import excerpt
from collector.standing import DEPENDENCY, TARGET

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.brief import Brief
    from collector.redact import Redactor

HintKind: TypeAlias = Literal["missing-program", "missing-file", "early-exit"]

MOST: Final = 100
"""Hints that a report holds."""
_REMEMBERED: Final = 4096
"""Most different things that are kept in mind while a run is read."""
_PROBES: Final = 2
"""Different signs of a sandbox that a process must have looked at, before its end means anything."""
_ABSENT: Final = frozenset({"ENOENT", "ENOTDIR"})
_SIGNS: Final = re.compile(
    r"/\.dockerenv|/run/\.containerenv|/proc/(?:1|self|[0-9]+)/(?:cgroup|sched|status|environ|mountinfo|comm)"
    r"|/proc/(?:cpuinfo|meminfo|uptime|version|modules|scsi/scsi|xen|vz|bc)(?:/.*)?"
    r"|/sys/(?:class/dmi/id/[a-z_]+|hypervisor/.*|class/net/[^/]+/address)"
)
"""Files by which a sandbox can be told."""
_PLACES_OF_SIGNS: Final = ("/.dockerenv", "/run/", "/proc/", "/sys/")
"""All of them begin with one of these, and few other files do."""
_NOT_A_HINT: Final = (
    "/usr/", "/lib", "/proc/", "/sys/", "/dev/", "/tmp/", "/var/tmp/", "/opt/fumehood/", "/etc/ld.so", "/bin/",  # noqa: S108 - in the pod
)  # fmt: skip
"""Places where programs look in vain by the dozen: modules, libraries, locales, temporary names."""
_OWN: Final = (".venv/", ".cache/", ".local/lib/")
"""The same below the home."""


class Hint(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that might change what a package does."""

    kind: HintKind
    what: str
    """Name of the program or path of the file; of an early exit the last file that was looked at."""
    phase: str
    actor: str
    count: int
    """How often."""
    profile: str
    """Name of the shipped profile that has it; empty when none has."""
    source: Source | None
    """Where the first of them stands in the bundle."""


class Hints(msgspec.Struct, frozen=True, kw_only=True):
    """All hints of a run."""

    items: tuple[Hint, ...] = ()
    """Missing programs, missing files, early exits; each in order of first appearance."""
    omitted: int = 0
    """Hints that are not listed because there were too many."""


class _Seen:
    """Something missing, while hints are gathered."""

    __slots__ = ("count", "first")

    def __init__(self, first: AnyEvent) -> None:
        self.first = first
        self.count = 0


_Key: TypeAlias = tuple[HintKind, str, str, str]


class HintReader:
    """Gathers the hints from the events of a run."""

    kinds: Final = get_args(AnyEvent)

    def __init__(self, home: str) -> None:
        """Begin.

        Args:
            home: Home directory of the run.
        """
        self._home = f"{home}/"
        self._found: dict[_Key, _Seen] = {}
        self._attempts: dict[int, dict[str, AnyEvent]] = {}
        """Programs that each process tried to execute, and has not found yet."""
        self._signs: dict[int, dict[str, AnyEvent]] = {}
        """Signs of a sandbox that each process looked at, and nothing else since."""

    def see(self, event: AnyEvent) -> None:
        """Take the next event, in order of time and with its actor."""
        if not self.heeds(event.actor):
            return
        if type(event) is FileRead:
            self._opened(event)
        elif type(event) is ProcessExec:
            self._executed(event)
        elif type(event) is ProcessExit:
            self._ended(event)
        elif self._signs:
            self._signs.pop(event.pid, None)

    def heeds(self, actor: str) -> bool:
        """Say whether an actor's files tell anything."""
        return actor == TARGET or actor.startswith(DEPENDENCY)

    def reading(self, first: Brief) -> Callable[[Brief], None] | None:
        """Take readings of a file in brief, unless they say nothing."""
        path = first.what.path
        tells = not path.startswith(_NOT_A_HINT) or self._tells(path) or _SIGNS.fullmatch(path)
        return (lambda brief: self._opened(brief.event())) if tells else None

    def hints(self, redactor: Redactor) -> Hints:
        """Give what was found.

        Args:
            redactor: Takes planted secrets out of it.
        """
        for pid in tuple(self._attempts):
            self._missed(pid)
        kinds: tuple[HintKind, ...] = ("missing-program", "missing-file", "early-exit")
        ordered = sorted(self._found.items(), key=lambda item: kinds.index(item[0][0]))
        items = tuple(
            Hint(
                kind=kind,
                what=excerpt(redactor.text(what)),
                phase=phase,
                actor=actor,
                count=seen.count,
                profile="",
                source=seen.first.source,
            )
            for (kind, what, phase, actor), seen in ordered[:MOST]
        )
        return Hints(items=items, omitted=max(len(ordered) - MOST, 0))

    def _executed(self, event: ProcessExec) -> None:
        self._signs.pop(event.pid, None)
        name = posixpath.basename(event.image)
        if not event.errno:
            # It stood further down the PATH.
            self._attempts.get(event.pid, {}).pop(name, None)
            self._missed(event.pid)
        elif event.errno in _ABSENT:
            attempts = self._attempts.setdefault(event.pid, {})
            if len(attempts) < _REMEMBERED:
                attempts.setdefault(name, event)

    def _missed(self, pid: int) -> None:
        for name, attempt in self._attempts.pop(pid, {}).items():
            self._add("missing-program", name, attempt)

    def _opened(self, event: FileRead) -> None:
        if event.path.startswith(_PLACES_OF_SIGNS) and _SIGNS.fullmatch(event.path):
            signs = self._signs.setdefault(event.pid, {})
            if len(signs) < _REMEMBERED:
                signs[event.path] = event
            return
        # What an interpreter opens at its own end, or to load a module, is no answer to what was seen.
        if self._signs and not event.path.startswith(_NOT_A_HINT):
            self._signs.pop(event.pid, None)
        if event.errno in _ABSENT and self._tells(event.path):
            self._add("missing-file", event.path, event)

    def _ended(self, event: ProcessExit) -> None:
        self._missed(event.pid)
        signs = self._signs.pop(event.pid, {})
        if len(signs) >= _PROBES:
            last = next(reversed(signs.values()))
            self._add("early-exit", next(reversed(signs)), last)

    def _tells(self, path: str) -> bool:
        if path.startswith(self._home):
            return not path.removeprefix(self._home).startswith(_OWN)
        return not path.startswith(_NOT_A_HINT)

    def _add(self, kind: HintKind, what: str, event: AnyEvent) -> None:
        key = (kind, what, event.phase, event.actor)
        seen = self._found.get(key)
        if seen is None:
            if len(self._found) >= _REMEMBERED:
                return
            seen = self._found[key] = _Seen(event)
        seen.count += 1
