"""What rules written for other systems call things: Sigma's taxonomy for Linux beyond what our own rules use.

`collector.sigma.categories` has the categories of our own rules. Here are those that only rules of others name, above
all the records of auditd. Fields of these have a dot in their name inside, so that they meet no other of the same name.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from collector import events as ev
from collector.errors import RuleError
from collector.sigma.audit_calls import NUMBERS
from collector.sigma.schema import Category, Field, field
from collector.sigma.values import command_line, event_only, image

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sigma.rule import SigmaLogSource

    from collector.events import AnyEvent
    from collector.sigma.view import Context, Value

_FILES: Final = (ev.FileRead, ev.FileWrite, ev.FileRename, ev.FileLink, ev.FileDelete, ev.FileMode, ev.FileOwner)
_SOCKETS: Final = (ev.NetworkConnect, ev.NetworkListen, ev.NetworkAccept, ev.NetworkUnix)
_OTHERS: Final = (
    ev.ProcessAccess,
    ev.CredentialChange,
    ev.MemoryFile,
    ev.NamespaceChange,
    ev.MountChange,
    ev.KernelCall,
)
_RECORDS: Final[Mapping[type[ev.Event], tuple[str, ...]]] = MappingProxyType(
    {
        ev.ProcessExec: ("SYSCALL", "EXECVE", "CWD", "PATH", "PROCTITLE"),
        **dict.fromkeys(_FILES, ("SYSCALL", "PATH", "PROCTITLE")),
        **dict.fromkeys(_SOCKETS, ("SYSCALL", "SOCKADDR", "PROCTITLE")),
        **dict.fromkeys(_OTHERS, ("SYSCALL", "PROCTITLE")),
    }
)
"""The records that auditd would write of an event."""
_CALLS: Final[Mapping[type[ev.Event], tuple[str, ...]]] = MappingProxyType(
    {
        ev.ProcessExec: ("execve", "execveat"),
        ev.FileRead: ("open", "openat", "openat2"),
        ev.FileWrite: ("open", "openat", "openat2", "creat", "truncate"),
        ev.FileRename: ("rename", "renameat", "renameat2"),
        ev.FileLink: ("link", "linkat", "symlink", "symlinkat"),
        ev.FileDelete: ("unlink", "unlinkat", "rmdir"),
        ev.FileMode: ("chmod", "fchmod", "fchmodat"),
        ev.FileOwner: ("chown", "fchown", "fchownat", "lchown"),
        ev.NetworkConnect: ("connect",),
        ev.NetworkUnix: ("connect",),
        ev.NetworkAccept: ("accept", "accept4"),
        ev.NetworkListen: ("bind", "listen"),
        ev.MemoryFile: ("memfd_create",),
    }
)
"""The calls that an event can come from; others name theirs."""
_COMM: Final = 15
"""Longest name of a program that the kernel keeps."""
_ARGUMENTS: Final = 32


def _comm(event: AnyEvent, context: Context) -> Value:
    program = image(event, context)
    return program.rsplit("/", 1)[-1][:_COMM] if isinstance(program, str) else None


def _path_name(event: ev.Event) -> Value:
    paths = (getattr(event, "path", None) or getattr(event, "image", None), getattr(event, "old", None))
    return tuple(path for path in paths if path)


def _path_type(event: ev.Event) -> Value:
    match event:
        case ev.FileWrite():
            return "CREATE" if event.created else "NORMAL"
        case ev.FileRename():
            return ("CREATE", "DELETE")
        case ev.FileLink():
            return "CREATE"
        case ev.FileDelete():
            return "DELETE"
        case _:
            return "NORMAL"


def _argument(number: int) -> Field:
    def get(event: ev.ProcessExec) -> Value:
        return event.argv[number] if number < len(event.argv) else None

    return field(f"auditd.a{number}", event_only(get), "an argument of the program executed")


def _call(event: ev.Event) -> Value:
    return _CALLS.get(type(event)) or getattr(event, "call", None)


def _record_types() -> tuple[str, ...]:
    return tuple(dict.fromkeys(record for records in _RECORDS.values() for record in records))


AUDITD: Final = Category(
    "auditd",
    tuple(_RECORDS),
    (
        field(
            "auditd.type",
            event_only(lambda event: _RECORDS.get(type(event), ())),
            "records",
            _record_types(),
            source="setting",
        ),
        field("auditd.syscall", event_only(_call), "list: names of the calls that it can come from", tuple(NUMBERS)),
        field("auditd.SYSCALL", event_only(_call), "the same", tuple(NUMBERS)),
        field("auditd.exe", image, "program", source="process"),
        field("auditd.comm", _comm, "its name, at most 15 bytes", source="process"),
        field("auditd.proctitle", command_line, "its arguments, joined with spaces", source="process"),
        field("auditd.cwd", event_only(lambda event: getattr(event, "cwd", None)), "working directory"),
        field("auditd.name", event_only(_path_name), "list: paths"),
        field("auditd.nametype", event_only(_path_type), "what becomes of the path", ("NORMAL", "CREATE", "DELETE")),
        field("auditd.pid", event_only(lambda event: event.pid or None), "process", source="process"),
        field("auditd.ppid", event_only(lambda event: getattr(event, "parent", None) or None), "its parent"),
        field(
            "auditd.success",
            event_only(lambda event: "no" if event.errno else "yes"),
            "",
            ("yes", "no"),
            source="setting",
        ),
    ),
)
AUDITD_EXECVE: Final = Category("auditd", (ev.ProcessExec,), tuple(map(_argument, range(_ARGUMENTS))))
FILE_RENAME: Final = Category(
    "file_rename",
    (ev.FileRename,),
    (
        field("file_rename.TargetFilename", "path", "new name"),
        field("file_rename.SourceFilename", "old", "old name"),
    ),
)
MORE_PROXY: Final = Category(
    "proxy",
    (ev.HttpRequest,),
    (
        field("proxy.c-uri-stem", event_only(lambda event: event.target.partition("?")[0]), "path"),
        field(
            "proxy.c-uri-extension",
            event_only(lambda event: event.target.partition("?")[0].rpartition("/")[2].rpartition(".")[2]),
            "what follows the last dot of the path",
        ),
        field("proxy.dst_ip", "ip", "address"),
        field("proxy.dst_port", "port", "port"),
    ),
)
MORE_CONNECTION: Final = Category(
    "network_connection",
    (ev.NetworkConnect,),
    (field("network_connection.DestinationIsIpv6", event_only(lambda event: ":" in event.ip), "it is IPv6"),),
)
FOREIGN: Final = (AUDITD, AUDITD_EXECVE, FILE_RENAME, MORE_PROXY, MORE_CONNECTION)
"""Categories whose fields only rules of others use."""

ABSENT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "LogonId": "a pod has no login sessions",
        "auid": "a pod has no login sessions",
        "key": "it names a rule of the machine's own audit.rules",
        "Hashes": "programs are not hashed",
        "md5": "programs are not hashed",
        "sha1": "programs are not hashed",
        "sha256": "programs are not hashed",
        "saddr": "addresses are not kept as auditd writes them",
        "exit": "return values are not kept",
    }
)
"""Why fields of the taxonomy cannot be answered."""


@dataclass(frozen=True, slots=True)
class LogSource:
    """What the logsource of a rule by others stands for."""

    label: str
    kinds: tuple[type[ev.Event], ...]
    names: Mapping[str, str]
    """From the name of a field there to its name inside."""


def logsource(source: SigmaLogSource, categories: Iterable[Category], common: Iterable[Field]) -> LogSource:
    """Find what a logsource stands for.

    Args:
        source: As the rule has it.
        categories: Those of our own rules.
        common: Fields that all of them have.

    Returns:
        The events and the fields.

    Raises:
        RuleError: Nothing in a pod answers to it; the message is the reason.
    """
    if source.product not in (None, "linux"):
        raise RuleError(f"logsource: the pod is Linux, not {source.product}")
    if source.service not in (None, "auditd", "sysmon"):
        raise RuleError(f"logsource: a pod keeps no log of the service {source.service}")
    ours = {category.name: category for category in categories}
    shared = {it.name: it.name for it in common}
    if source.service == "auditd" and source.category is None:
        return LogSource("auditd", AUDITD.kinds, shared | _inside((AUDITD, AUDITD_EXECVE), "auditd"))
    if source.category is None:
        if source.service is not None or source.product is None:
            raise RuleError("logsource: it names no category")
        # `product: linux` alone is any log of the machine: keywords are searched for in every event.
        kinds = tuple(dict.fromkeys(kind for category in ours.values() for kind in category.kinds))
        return LogSource("linux", kinds, shared)
    more = _inside(FOREIGN, source.category)
    found = ours.get(source.category)
    if found is None and not more:
        raise RuleError(f"logsource: nothing in a pod answers to the category {source.category}")
    kinds = found.kinds if found is not None else FILE_RENAME.kinds
    own = {it.name: it.name for it in found.fields} if found is not None else {}
    return LogSource(source.category, kinds, shared | own | more)


def _inside(categories: Iterable[Category], name: str) -> dict[str, str]:
    return {
        it.name.removeprefix(f"{name}."): it.name
        for category in categories
        if category.name == name
        for it in category.fields
    }
