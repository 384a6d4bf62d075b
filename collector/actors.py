"""Who caused an event: the installer, a compiler at its work, a dependency, or the package itself.

Trust is never taken from a name. It begins at a phase's own command, goes from pip only to what pip itself
starts, and is lost when code of the package could have come in between. What is not known is the package's doing.
"""

from __future__ import annotations

import posixpath
import re
from bisect import bisect_right
from typing import TYPE_CHECKING, Final

import msgspec

from collector.compilers import is_compiler, is_compiling, is_preload
from collector.events import (
    AnyEvent,
    FileDelete,
    FileLink,
    FileMode,
    FileRead,
    FileRename,
    FileWrite,
    ProcessAccess,
    ProcessExec,
    ProcessStart,
)
from collector.ownership import Ownership
from collector.places import Places
from collector.standing import BACKEND, DEPENDENCY, INSTALLER, TARGET, UNKNOWN_DEPENDENCY, Standing
from collector.syscalls.programs import MAX_ARGUMENTS

if TYPE_CHECKING:
    from collector.brief import Reading
    from collector.manifest import Manifest
    from collector.processes import ProcessTable

_PYTHON: Final = "/usr/bin/python3"
"""The image's own interpreter, which a package cannot change; the environment's one it can."""
_DRIVERS: Final = "/opt/fumehood/"
_LAUNCHER: Final = f"{_DRIVERS}pip_launcher.py"
_ISOLATED: Final = ("-I", "-S")
_BUILD_REQUIREMENT: Final = ("install", "--ignore-installed", "--no-user", "--prefix")
_BUILD_PREFIX: Final = re.compile(r"/tmp/pip-build-env-[a-z0-9_]{8}/(?:overlay|normal)")  # noqa: S108 - pip's
_SOURCES: Final = re.compile(
    r"/tmp/pip-install-[a-z0-9_]{8}/"  # noqa: S108 - pip's
    r"([A-Za-z0-9](?:[A-Za-z0-9._-]{0,200}[A-Za-z0-9])?)_[0-9a-f]{32}"
)
_TOOLS: Final = frozenset({"/usr/bin/lsb_release", "/usr/bin/uname", "/bin/uname"})
"""What pip asks about the machine for its User-Agent header."""
_MODULES: Final = (".py", ".pyc", ".so", ".pth")
_FIXED: Final = ("/usr/", "/opt/", "/etc/", "/lib", "/proc/", "/sys/", "/dev/")
_MOST_WROTE: Final = 1 << 16
"""Modules of one installer that are remembered. When it opens another one, it is trusted no more."""
_OPENED: Final = (FileRead, FileWrite, FileRename, FileLink)
_INTRUSIONS: Final = frozenset({"ptrace", "process_vm_writev", "/proc/mem"})
_BUILDING: Final = frozenset({"dependencies", "install"})


class Attribution:
    """The actors of a run, as they follow from its events."""

    def __init__(self, processes: ProcessTable, manifest: Manifest) -> None:
        """Take the processes, for parents whose fork was not seen, and the manifest, for commands and paths."""
        self._processes = processes
        self._home = manifest.home
        self._places = Places(manifest.home)
        self._venv = f"{manifest.home}/.venv"
        self._interpreter = frozenset({self._home, self._venv, f"{self._venv}/bin", f"{self._venv}/pyvenv.cfg"})
        self._interpreters = (f"{self._venv}/bin/python", f"{self._venv}/lib64")
        self._commands = {phase.name: phase.argv for phase in manifest.phases if phase.argv}
        self._standings: dict[int, Standing] = {}
        self.settled: dict[int, str] = {}
        """Who reads a file, of processes of which all readings have one actor, but perhaps those of an installer."""
        self.image = tuple(place for place in _FIXED if not f"{manifest.home}/".startswith(place))
        """Places that are the image's, and not the home directory's."""
        self._history: dict[int, tuple[list[float], list[str]]] = {}
        self._roots: set[str] = set()
        self._wrote: dict[int, set[str]] = {}
        """Files that a pip wrote itself; it may open those again."""
        self._files = Ownership(manifest.site_packages)
        self._tampered = False
        """The environment's own interpreter was changed: it is trusted no more, whatever it is run with."""

    def actor(self, pid: int, ts: float) -> str:
        """Name who a process acted for at a moment that has been attributed already: the installer, or another."""
        times, actors = self._history.get(pid, ([], []))
        at = bisect_right(times, ts)
        return actors[at - 1] if at else TARGET

    def attributed(self, event: AnyEvent) -> AnyEvent:
        """Fill in the actor of the next event in order of time."""
        actor = self.reader(event) if type(event) is FileRead else self._next(event) if event.pid else TARGET
        return event if event.actor == actor else msgspec.structs.replace(event, actor=actor)

    def reader(self, event: FileRead) -> str:
        """Say who reads a file, in the next event in order of time."""
        known = self._standings.get(event.pid)
        if known is None or known.code == "compiler":
            return self._next(event) if event.pid else TARGET
        # Most events are of this sort, and change nothing.
        return known.below if known.code == "package" and not known.untouched else self._read(known, event)

    def _next(self, event: AnyEvent) -> str:
        standing = self._standing(event)
        if type(event) is ProcessExec and not event.errno:
            standing = self._executed(standing, event)
        elif standing.code == "compiler":
            standing = self._compiled(standing, event)
        elif standing.actor == INSTALLER:
            standing = self._checked(standing, event)
        self._set(event.pid, event.ts, standing)
        if type(event) is ProcessAccess and event.call in _INTRUSIONS and not event.errno:
            self._intruded(event, standing)
        actor = standing.actor
        if actor == BACKEND and not is_compiling(event, self._home):
            actor = standing.below
        if not self._tampered and not event.errno and self._tampers(event):
            # By whomever: what a pip unpacks, the package has chosen.
            self._tampered = True
        if actor == INSTALLER and self._places.is_misled(event):
            actor = standing.below
        if actor == INSTALLER and standing.is_dependencies_pip:
            self._files.unpacked(event)
        else:
            self._files.changed(event, actor if actor.startswith(DEPENDENCY) else standing.below)
        return actor

    def _read(self, standing: Standing, event: FileRead) -> str:
        """The actor of a reading by an installer, or by a process that may still be a dependency's."""
        if standing.untouched:
            known = standing if event.errno else standing.having_read(self._files.owner(event.path))
            self._set(event.pid, event.ts, known)
            return known.actor
        if not event.errno and event.path.endswith(_MODULES) and not self._may_load(event):
            self._set(event.pid, event.ts, standing._replace(code="package"))
            return standing.below
        return standing.below if self._places.is_misled(event) else INSTALLER

    def _set(self, pid: int, ts: float, standing: Standing) -> None:
        before = self._standings.get(pid)
        if before is standing or before == standing:
            return
        self._standings[pid] = standing
        self._settle(pid, standing)
        if standing.actor != INSTALLER and pid not in self._history:
            return
        times, actors = self._history.setdefault(pid, ([], []))
        times.append(max(ts, times[-1]) if times else ts)
        actors.append(standing.actor)

    def _settle(self, pid: int, standing: Standing) -> None:
        if standing.untouched or standing.code == "compiler":
            self.settled.pop(pid, None)
        else:
            self.settled[pid] = standing.actor

    def is_harmless(self, what: Reading) -> bool:
        """Whether an installer that reads this file remains one, whatever was before."""
        loads = not what.setting.errno and what.path.endswith(_MODULES) and not what.path.startswith(_FIXED)
        return not loads and not self._places.is_foreign(what.path)

    def _standing(self, event: AnyEvent) -> Standing:
        """The standing of the event's process before the event."""
        if type(event) is not ProcessStart and (known := self._standings.get(event.pid)) is not None:
            return known
        process = self._processes.get(event.pid, event.ts)
        parent = event.parent if type(event) is ProcessStart else process.parent if process else 0
        above = self._standings.get(parent) if parent else None
        if above is not None:
            return self._forked(above, event)
        phase = process.phase if process else event.phase
        return Standing("package", phase, self._default(phase))

    def _forked(self, above: Standing, event: AnyEvent) -> Standing:
        match above.code:
            case "pip":
                return above._replace(code="fork")
            case "driver":
                return above._replace(code="package", phase=above.phase or event.phase, untouched=True)
            case _:
                return above

    def _executed(self, before: Standing, event: ProcessExec) -> Standing:
        if (root := self._root(event)) is not None:
            return root
        if before.code == "fork":
            if self._is_build_requirement(event) and self._is_trusted(event.argv[0]):
                self._wrote[event.pid] = set()
                return Standing("pip", before.phase, UNKNOWN_DEPENDENCY, nested=True)
            if event.image in _TOOLS:
                return before._replace(code="tool")
        if before.code == "tool" and event.image.startswith("/usr/bin/"):
            return before
        below = before.below
        if before.code in {"pip", "fork"}:
            below = self._source(event, before)
        building = before.phase in _BUILDING and before.code in {"package", "compiler"}
        compiler = building and is_compiler(event.image, event.argv)
        after = Standing("compiler" if compiler else "package", before.phase, below, before.nested)
        if before.untouched:
            return after._replace(untouched=True).having_read(self._files.owner(event.image))
        return after

    def _root(self, event: ProcessExec) -> Standing | None:
        """The standing of a phase's own command, None when the event is not its start."""
        phase = event.phase
        command = self._commands.get(phase)
        process = self._processes.get(event.pid, event.ts)
        if phase in self._roots or command is None or (process and process.parent):
            return None
        if not event.argv or event.argv != command[:MAX_ARGUMENTS]:
            return None
        self._roots.add(phase)
        below, trusted = self._default(phase), self._is_trusted(command[0])
        if not trusted or command[1:3] != _ISOLATED or not "".join(command[3:4]).startswith(_DRIVERS):
            return Standing("package", phase, below, untouched=trusted and phase not in _BUILDING)
        self._wrote[event.pid] = set()
        return Standing("pip" if phase in _BUILDING else "driver", phase, below)

    def _is_build_requirement(self, event: ProcessExec) -> bool:
        """Whether pip started exactly the command by which it installs what a build needs."""
        argv = event.argv
        fixed = (*_ISOLATED, _LAUNCHER, *_BUILD_REQUIREMENT)
        return argv[1:8] == fixed and bool(argv[8:]) and _BUILD_PREFIX.fullmatch(argv[8]) is not None

    def _is_trusted(self, interpreter: str) -> bool:
        """Whether what this interpreter runs is what its command line says."""
        return interpreter == _PYTHON or (interpreter == f"{self._venv}/bin/python" and not self._tampered)

    def _source(self, event: ProcessExec, pip: Standing) -> str:
        """Whose code a child of pip runs: the source tree it was started in tells, where a tree has a name."""
        if not pip.nested and pip.phase != "dependencies":
            return self._default(pip.phase)
        for text in (event.cwd, *event.argv):
            if (tree := _SOURCES.search(text)) is not None:
                return DEPENDENCY + re.sub(r"[-_.]+", "-", tree[1]).lower()
        return UNKNOWN_DEPENDENCY

    def _default(self, phase: str) -> str:
        return UNKNOWN_DEPENDENCY if phase == "dependencies" else TARGET

    def _compiled(self, standing: Standing, event: AnyEvent) -> Standing:
        if standing.linked:
            return standing
        if is_preload(event):
            return standing._replace(code="package")
        return standing._replace(linked=isinstance(event, FileRead) and event.path == "/etc/ld.so.cache")

    def _checked(self, standing: Standing, event: AnyEvent) -> Standing:
        """Take the installer's name from a process that loads code which it has not itself unpacked.

        The drivers never do; if one does, a package has found a way in, and from then on it is the package.
        """
        if event.errno or not isinstance(event, _OPENED) or not event.path.endswith(_MODULES):
            return standing
        if type(event) is not FileRead:
            wrote = self._wrote.setdefault(event.pid, set())
            if len(wrote) < _MOST_WROTE:
                wrote.add(event.path)
            return standing
        return standing if self._may_load(event) else standing._replace(code="package")

    def _may_load(self, event: FileRead) -> bool:
        """Whether a module that an installer's process opens is the image's, or one that it wrote itself."""
        return event.path.startswith(_FIXED) or event.path in self._wrote.get(event.pid, ())

    def _intruded(self, event: ProcessAccess, by: Standing) -> None:
        """Another process's memory was reached: what it does from now on may be the intruder's doing."""
        victim = self._standings.get(event.target)
        if victim is None or by.actor == INSTALLER:
            return
        if victim.actor in {INSTALLER, BACKEND} or (victim.untouched and victim.actor != by.actor):
            self._set(event.target, event.ts, victim._replace(code="package", below=by.below, untouched=False))

    def _tampers(self, event: AnyEvent) -> bool:
        """Whether an event changes the environment's interpreter, on which trust in its commands rests."""
        if type(event) is FileWrite:
            return self._is_interpreters(event.path)
        if type(event) is FileRename:
            return self._is_interpreters(event.path) or self._is_interpreters(event.old)
        if type(event) is FileLink and event.symbolic:
            reached = posixpath.normpath(posixpath.join(posixpath.dirname(event.path), event.target))
            if self._venv == reached or self._venv.startswith(f"{reached.rstrip('/')}/"):
                return True
        return isinstance(event, FileDelete | FileLink | FileMode) and self._is_interpreters(event.path)

    def _is_interpreters(self, path: str) -> bool:
        return path in self._interpreter or path.startswith(self._interpreters)
