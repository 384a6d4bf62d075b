"""Executions: which program, with what arguments, and how its file came to be."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from collector.events import ProcessExec
from collector.live_processes import STANDARD
from collector.processes import Execution
from collector.strace import Group, Text
from collector.syscalls.paths import absolute, decoded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collector.live_processes import LiveProcess
    from collector.syscalls.step import Handler, Step
    from collector.written_files import Written

MAX_ARGUMENTS: Final = 256
"""Entries of an argument list that are kept."""

_MEMORY_FILE: Final = "/memfd:"
_FAMILIES: Final = (
    # Names, options that bring the code itself, options that take the next argument. A script taken for one that is
    # none does no harm (its path was not written); one that is overlooked does.
    (r"(?:ba|da|z|k|a)?sh", r"-[A-Za-z]*c", {"-o", "-O", "+o", "+O", "--rcfile", "--init-file"}),
    (r"python[0-9.]*|pypy[0-9.]*", r"-[bBdEiIOPqsSuvx]*[cm]", {"-W", "-X", "--check-hash-based-pycs"}),
    (r"perl[0-9.]*|ruby[0-9.]*", r"-[0-9A-Za-z]*[eE]\Z", {"-I"}),
    (r"node(?:js)?|bun|deno", r"-[ep]|--eval|--print", {"-r", "--require", "--import"}),
    (r"lua[0-9.]*|tclsh[0-9.]*", r"-e", set[str]()),
    (r"php[0-9.]*", r"-r", {"-d", "-c"}),
    (r"ld-linux[a-z0-9_.-]*|ld\.so", r"--list|--verify|--version", {"--library-path", "--preload", "--argv0"}),
)
_INTERPRETERS: Final = tuple(
    (re.compile(rf"(?:{names})\Z"), re.compile(code), frozenset(valued)) for names, code, valued in _FAMILIES
)


def argv_bytes(step: Step, place: int) -> tuple[tuple[bytes, bool], ...] | None:
    """An argument list as (bytes, cut by strace) pairs; None when strace could not read it."""
    group = step.value(place)
    if not isinstance(group, Group):
        return None
    return tuple((item.value.value, item.value.truncated) for item in group.items if isinstance(item.value, Text))


def is_command(step: Step, argv: tuple[str, ...]) -> bool:
    """Whether this call executed exactly the given command with success."""
    if step.call.name not in PLACES or not step.succeeded or not argv:
        return False
    seen = argv_bytes(step, PLACES[step.call.name])
    if seen is None or len(seen) != len(argv):
        return False
    wanted = (argument.encode("utf-8", "surrogateescape") for argument in argv)
    return all(
        full.startswith(given) if truncated else full == given
        for (given, truncated), full in zip(seen, wanted, strict=True)
    )


def _execve(step: Step) -> bool:
    return _executed(step, step.path(0), 1)


def _execveat(step: Step) -> bool:
    asked = step.text(1)
    if asked is None:
        return step.unreadable()
    directory = step.base(0)
    # With an empty path the descriptor itself is the program.
    return _executed(step, absolute(asked, directory) if asked else directory, 2)


PLACES: Final = {"execve": 1, "execveat": 2}
"""Where the argument list stands."""


def _executed(step: Step, asked: str | None, place: int) -> bool:
    if asked is None:
        return step.unreadable()
    process = step.process
    above = process.parent.current if process.parent is not None and process.parent.ours else None
    image = _image(step, asked)
    argv = tuple(decoded(argument) for argument, _ in (argv_bytes(step, place) or ())[:MAX_ARGUMENTS])
    origin, written = _origin(step, image, argv)
    stdio = _stdio(step)
    step.emit(
        ProcessExec,
        image=image,
        argv=argv,
        cwd=process.cwd,
        parent=process.parent.pid if process.parent is not None and process.parent.ours else 0,
        parent_image=above.image if above else "",
        parent_argv=above.argv if above else (),
        stdio=stdio,
        origin=origin,
    )
    if step.succeeded:
        execution = Execution(step.call.ts, image, argv, process.cwd, step.source, stdio, origin, written)
        step.out.table.executed(process, execution)
        process.close_on_exec()
    return True


def _image(step: Step, asked: str) -> str:
    if asked in {"/proc/self/exe", "/proc/thread-self/exe"} and step.process.current is not None:
        return step.process.current.image
    return step.descriptor_path(asked)


def _stdio(step: Step) -> str:
    """The peer of standard input, output or error; of the parent's when a terminal stands between the two."""
    process, parent = step.process, step.process.parent
    terminal = str(process.descriptors.get(0, "")).startswith("/dev/pts/")
    behind = _socket(step, parent) if terminal and parent is not None and parent.ours else ""
    return _socket(step, process) or behind


def _socket(step: Step, process: LiveProcess) -> str:
    for number in STANDARD:
        peer = step.out.peer(process.descriptors.get(number))
        if peer is not None:
            ip = f"[{peer.ip}]" if ":" in peer.ip else peer.ip
            return f"{ip}:{peer.port}"
    return ""


def _origin(step: Step, image: str, argv: tuple[str, ...]) -> tuple[str, Written | None]:
    """Where the program, or the script it is to interpret, came from."""
    files = [image]
    script = script_of(image, argv)
    if script is not None:
        files.append(step.descriptor_path(absolute(script, step.process.cwd)))
    for path in files:
        # A descriptor we cannot name (it was duplicated unseen) in a process that made a memfd is taken for it.
        unnamed = "/fd/" in path and path.startswith(("/proc/", "/dev/fd/")) and step.process.memory_files
        if path.startswith(_MEMORY_FILE) or unnamed:
            return "memory", None
        if (written := step.out.table.written.get(path)) is not None:
            return "written", written
    return "", None


def script_of(image: str, argv: tuple[str, ...]) -> str | None:
    """The script that an interpreter was given: its first argument that is no option; None without one."""
    program = image.rpartition("/")[2]
    for names, code, valued in _INTERPRETERS:
        if names.match(program) is not None:
            return _first_file(iter(argv[1:]), code, valued)
    return None


def _first_file(arguments: Iterator[str], code: re.Pattern[str], valued: frozenset[str]) -> str | None:
    for argument in arguments:
        if argument == "--":
            return next(arguments, None)
        if argument in {"", "-"} or code.match(argument):
            return None
        if argument in valued:
            next(arguments, None)
        elif not argument.startswith(("-", "+")):
            return argument
    return None


HANDLERS: Final[dict[str, Handler]] = {"execve": _execve, "execveat": _execveat}
