"""How the value of each field is found, from the event and from what is known about its process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from collector.events import (
    AnyEvent,
    DnsQuery,
    HttpRequest,
    NetworkConnect,
    NetworkPayload,
    NetworkSend,
    ProcessExec,
    TlsHello,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.processes import Execution
    from collector.sigma.view import Context, Getter, Value


def attribute(name: str) -> Getter:
    """Make a getter of an attribute that all kinds of the category have."""

    def get(event: AnyEvent, _: Context) -> Value:
        value: Value = getattr(event, name)
        return value

    return get


def event_only(function: Callable[[Any], Value]) -> Getter:
    """Make a getter of something that needs the event alone."""
    return lambda event, _: function(event)


def image(event: AnyEvent, context: Context) -> Value:
    """Give the program: the one executed, or the one that the event's process ran then."""
    if isinstance(event, ProcessExec):
        return event.image
    return _image_of(event.pid, event.ts, context)


def command_line(event: AnyEvent, context: Context) -> Value:
    """Give the arguments, joined with spaces: those executed, or those of the event's process."""
    if isinstance(event, ProcessExec):
        return " ".join(event.argv)
    return _command_line_of(event.pid, event.ts, context)


def parent_image(event: AnyEvent, context: Context) -> Value:
    """Give the program of the parent of the event's process."""
    if isinstance(event, ProcessExec) and event.parent_image:
        return event.parent_image
    execution = _parent_execution(event, context)
    return None if execution is None else execution.image


def parent_command_line(event: AnyEvent, context: Context) -> Value:
    """Give the arguments of the parent of the event's process."""
    if isinstance(event, ProcessExec) and event.parent_argv:
        return " ".join(event.parent_argv)
    execution = _parent_execution(event, context)
    return None if execution is None else " ".join(execution.argv)


def _parent_execution(event: AnyEvent, context: Context) -> Execution | None:
    if isinstance(event, ProcessExec):
        return context.processes.execution(event.parent, event.ts)
    process = context.processes.get(event.pid, event.ts) if event.pid else None
    if process is None or not process.parent:
        return None
    return context.processes.execution(process.parent, event.ts)


def host(event: AnyEvent) -> Value:
    """Give the remote host in lower case: its name where one is known, else its address."""
    match event:
        case HttpRequest():
            name = event.host or event.ip
        case DnsQuery():
            name = event.name
        case TlsHello():
            name = event.sni or event.ip
        case NetworkConnect() | NetworkSend() | NetworkPayload():
            name = event.host or event.ip
        case _:
            return None
    return name.lower().rstrip(".")


def ancestors(event: AnyEvent, context: Context) -> Value:
    """Give the programs of the parents of the event's process, nearest first."""
    if not event.pid:
        return None
    above = context.processes.ancestors(event.pid, event.ts)
    executions = (process.execution(event.ts) for process in above)
    return tuple(execution.image for execution in executions if execution is not None)


def home_path(event: AnyEvent, context: Context) -> Value:
    """Give the path of a file, or the program executed, as `~/...` when it is below the home directory."""
    path: str = getattr(event, "path", "") or getattr(event, "image", "")
    if path == context.home:
        return "~"
    return "~" + path[len(context.home) :] if path.startswith(context.home + "/") else None


def uri(event: HttpRequest) -> str:
    """Give a request's address: scheme, host, path and query."""
    if "://" in event.target.partition("?")[0]:
        return event.target
    slash = "" if event.target.startswith("/") else "/"
    return f"{'https' if event.tls else 'http'}://{event.host}{slash}{event.target}"


def _image_of(pid: int, ts: float, context: Context) -> Value:
    execution = context.processes.execution(pid, ts)
    return None if execution is None else execution.image


def _command_line_of(pid: int, ts: float, context: Context) -> Value:
    execution = context.processes.execution(pid, ts)
    return None if execution is None else " ".join(execution.argv)
