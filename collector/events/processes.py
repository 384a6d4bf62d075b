"""Events of processes: they begin, execute, end, change what they may do, act on each other."""

from __future__ import annotations

from collector.events.event import Event


class ProcessStart(Event, frozen=True, kw_only=True, tag="process.start"):
    """A process (not a thread) was forked; `pid` is the new one."""

    parent: int


class ProcessExec(Event, frozen=True, kw_only=True, tag="process.exec"):
    """A program was executed (or, with `errno`, could not be)."""

    image: str
    """Absolute path of the program."""
    argv: tuple[str, ...] = ()
    cwd: str = ""
    parent: int = 0
    parent_image: str = ""
    parent_argv: tuple[str, ...] = ()
    stdio: str = ""
    """`ip:port` when standard input, output or error is a connected internet socket, or a terminal whose other end a
    parent with such a socket holds (pty.spawn)."""
    origin: str = ""
    """How the program file (or the script an interpreter was given) came to be, when this run made it:
    `written` (by a process of this run), `downloaded` (its writer, or a parent of it, had fetched something from a
    host that is not the registry before), `memory` (a memfd). Empty for files of the image or of an installed package
    that the installer wrote."""
    bait: tuple[str, ...] = ()
    """Bait found in its arguments, as `name/encoding`: a secret in use or made ready, not one that left."""


class ProcessExit(Event, frozen=True, kw_only=True, tag="process.exit"):
    """A process ended."""

    code: int = 0
    signal: str = ""


class ProcessAccess(Event, frozen=True, kw_only=True, tag="process.access"):
    """Another process was traced, read, written or signalled."""

    call: str
    target: int = 0
    signal: str = ""
    """Name of the signal that was sent, e.g. `SIGKILL`; empty for other calls."""


class ProcessSignal(Event, frozen=True, kw_only=True, tag="process.signal"):
    """A signal reached the process `pid`; of one kind of signal only the first few of a process are told."""

    signal: str
    """Its name, e.g. `SIGTERM`."""
    sender: int = 0
    """The process that sent it; 0 for the kernel, and when unknown."""
    code: str = ""
    """Why, as the kernel says it: `SI_USER`, `SEGV_MAPERR`, ..."""


class CredentialChange(Event, frozen=True, kw_only=True, tag="process.credentials"):
    """A process asked for another user, group or set of capabilities."""

    call: str
    """`setuid`, `setresgid`, `setgroups`, `capset`, ..."""
    args: str = ""
    """As the tracer printed them."""
    root: bool = False
    """It asked to be user or group 0, or for a capability."""
