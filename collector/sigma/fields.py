"""Which Sigma category an event belongs to, and what its fields are called there.

The table in `docs/rules.md` is made from this module by `field_table`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, get_args

from collector import events as ev
from collector.sigma.values import (
    ancestors,
    attribute,
    command_line,
    event_only,
    home_path,
    image,
    parent_command_line,
    parent_image,
    uri,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from collector.sigma.view import Getter

EVERY_EVENT = "fumehood"
"""The category of rules that look at events of every kind."""

KINDS: tuple[type[ev.Event], ...] = get_args(ev.AnyEvent)


@dataclass(frozen=True, slots=True)
class Field:
    """A name that rules of a category may use."""

    name: str
    get: Getter
    text: str
    """What it holds, for the documentation."""


@dataclass(frozen=True, slots=True)
class Category:
    """A Sigma logsource category and the kinds of events it stands for."""

    name: str
    kinds: tuple[type[ev.Event], ...]
    fields: tuple[Field, ...]
    ours: bool = False
    """Not one of Sigma's own categories."""


def _field(name: str, get: Getter | str, text: str) -> Field:
    return Field(name, attribute(get) if isinstance(get, str) else get, text)


COMMON: tuple[Field, ...] = (
    _field(
        "Kind", event_only(lambda event: str(type(event).__struct_config__.tag)), "kind of the event, e.g. `file.read`"
    ),
    _field("Phase", "phase", "`dependencies`, `install`, `startup`, `import`, `exercise` or `linger`"),
    _field("Actor", "actor", "`installer`, `build-backend`, `dependency:<name>` or `target`"),
    _field("Errno", "errno", "name of the error of a call that failed, e.g. `ENOENT`; empty when it succeeded"),
    _field("ProcessId", event_only(lambda event: event.pid or None), "process that did it; absent when unknown"),
    _field("Image", image, "program of that process"),
    _field("CommandLine", command_line, "its arguments, joined with spaces"),
    _field("Ancestors", ancestors, "list: programs of its parents, nearest first, up to the root of the phase"),
    _field(
        "Bait",
        event_only(lambda event: getattr(event, "bait", None)),
        "list: planted secrets in it, as `name/encoding`",
    ),
    _field(
        "HostRole",
        event_only(lambda event: getattr(event, "role", None)),
        "`registry`, `metadata`, `local`, or empty for any other host; absent where no host is involved",
    ),
    _field("HomePath", home_path, "path (or program) below the home directory, as `~/...`; absent elsewhere"),
)

_DESTINATION = (
    _field("DestinationIp", "ip", "address as dialled"),
    _field("DestinationPort", "port", "port as dialled"),
)
_NAMED_DESTINATION = (
    *_DESTINATION,
    _field("DestinationHostname", "host", "name whose DNS answer gave the address; empty when none did"),
    _field("Protocol", "protocol", "`tcp`, `udp`, `icmp`, ..."),
)
_PATH = _field("TargetFilename", "path", "absolute path")

_CALL = (
    _field("Call", "call", "system call, e.g. `unshare`"),
    _field("Arguments", "args", "its arguments"),
)

CATEGORIES: tuple[Category, ...] = (
    Category(
        "process_creation",
        (ev.ProcessExec,),
        (
            _field("CurrentDirectory", "cwd", "working directory"),
            _field("ParentImage", parent_image, "program of the parent"),
            _field("ParentCommandLine", parent_command_line, "arguments of the parent, joined with spaces"),
            _field("ParentProcessId", "parent", "process id of the parent"),
            _field("User", lambda _, context: context.user, "name of the tracee's user"),
            _field(
                "Stdio",
                "stdio",
                "`ip:port` when standard input, output or error is an internet socket, or leads to one",
            ),
            _field(
                "Origin", "origin", "`written`, `downloaded` or `memory` when this run made the program; else empty"
            ),
        ),
    ),
    Category("file_access", (ev.FileRead,), (_PATH,)),
    Category(
        "file_event",
        (ev.FileWrite, ev.FileRename, ev.FileLink),
        (
            _PATH,
            _field(
                "Created",
                event_only(lambda event: getattr(event, "created", None)),
                "the open asked to create the file",
            ),
            _field("SourceFilename", event_only(lambda event: getattr(event, "old", None)), "old name, of a rename"),
            _field("LinkTarget", event_only(lambda event: getattr(event, "target", None)), "what a new link points to"),
        ),
    ),
    Category("file_delete", (ev.FileDelete,), (_PATH,)),
    Category("file_change", (ev.FileMode,), (_PATH, _field("Mode", "mode", "new permissions in octal, e.g. `'0755'`"))),
    Category(
        "file_owner",
        (ev.FileOwner,),
        (
            _PATH,
            _field("Owner", "owner", "number of the new owner; -1 for no change"),
            _field("Group", "group", "number of the new group; -1 for no change"),
        ),
        ours=True,
    ),
    Category(
        "file_dropped",
        (ev.FileDropped,),
        (
            _PATH,
            _field(
                "FileType", "type", "what it is, by content: `elf`, `shell-script`, `private-key`, `link`, `fifo`, ..."
            ),
            _field("Size", "size", "bytes"),
            _field("Sha256", "sha256", "digest in lower-case hex; empty of what is no regular file"),
            _field("Mode", "mode", "permissions in octal, e.g. `'0755'`"),
            _field("LinkTarget", "target", "what a link points to"),
            _field("Planted", "planted", "it was planted, and its content has changed"),
        ),
        ours=True,
    ),
    Category(
        "network_connection",
        (ev.NetworkConnect,),
        (*_NAMED_DESTINATION, _field("Initiated", lambda _event, _context: True, "always true")),
    ),
    Category(
        "network_listen",
        (ev.NetworkListen,),
        (
            _field("SourceIp", "ip", "local address"),
            _field("SourcePort", "port", "local port"),
            _field("Protocol", "protocol", "`tcp` or `udp`"),
        ),
        ours=True,
    ),
    Category(
        "network_accept",
        (ev.NetworkAccept,),
        (
            _field("SourceIp", "ip", "address of the peer"),
            _field("SourcePort", "port", "port of the peer"),
            _field("DestinationIp", "local_ip", "local address"),
            _field("DestinationPort", "local_port", "local port"),
            _field("Protocol", "protocol", "`tcp`"),
        ),
        ours=True,
    ),
    Category(
        "network_send",
        (ev.NetworkSend,),
        (*_NAMED_DESTINATION, _field("Size", "size", "bytes of the first packet")),
        ours=True,
    ),
    Category("unix_socket", (ev.NetworkUnix,), (_PATH,), ours=True),
    Category(
        "network_payload",
        (ev.NetworkPayload,),
        (
            *_NAMED_DESTINATION,
            _field("Payload", "payload", "bytes sent, as UTF-8 with escapes, bounded"),
            _field("Size", "size", "bytes sent"),
        ),
        ours=True,
    ),
    Category(
        "dns_query",
        (ev.DnsQuery,),
        (
            _field("QueryName", "name", "name looked up"),
            _field("QueryType", "qtype", "`A`, `AAAA`, `TXT`, ..."),
            _field("QueryResults", "answers", "list: what was answered"),
            _field("QueryStatus", "rcode", "status of the answer, e.g. `NOERROR`"),
        ),
    ),
    Category(
        "dns",
        (ev.DnsQuery,),
        (
            _field("query", "name", "name looked up"),
            _field("record_type", "qtype", "`A`, `AAAA`, `TXT`, ..."),
            _field("answer", "answers", "list: what was answered"),
        ),
    ),
    Category(
        "tls",
        (ev.TlsHello,),
        (
            _field("ServerName", "sni", "name asked for (SNI)"),
            _field("Completed", "completed", "the client accepted our certificate"),
            *_DESTINATION,
        ),
        ours=True,
    ),
    Category(
        "proxy",
        (ev.HttpRequest,),
        (
            _field("c-uri", event_only(uri), "scheme, host, path and query"),
            _field("c-uri-query", event_only(lambda event: event.target.partition("?")[2]), "what follows the `?`"),
            _field("cs-method", "method", "`GET`, `POST`, ..."),
            _field("cs-host", "host", "host as the request names it"),
            _field("r-dns", "host", "the same"),
            _field("c-useragent", "user_agent", "User-Agent header"),
            _field("sc-status", event_only(lambda event: event.status or None), "status of the answer"),
            _field("cs-bytes", "size", "bytes of body"),
            _field("sc-bytes", "response_size", "bytes of the answer's body"),
            _field("sc-content-type", "response_type", "media type of the answer"),
            _field("Body", "body", "body as UTF-8 with escapes, bounded"),
            *_DESTINATION,
        ),
    ),
    Category(
        "process_access",
        (ev.ProcessAccess,),
        (
            _field("Call", "call", "system call, e.g. `ptrace`"),
            _field("TargetProcessId", event_only(lambda event: event.target or None), "the other process"),
            _field("Signal", "signal", "signal that was sent, e.g. `SIGKILL`; empty for other calls"),
        ),
    ),
    Category(
        "process_signal",
        (ev.ProcessSignal,),
        (
            _field("Signal", "signal", "signal that reached the process"),
            _field("SourceProcessId", event_only(lambda event: event.sender or None), "the process that sent it"),
            _field("Code", "code", "why, e.g. `SI_USER`, `SEGV_MAPERR`"),
        ),
        ours=True,
    ),
    Category("memory_file", (ev.MemoryFile,), (_field("Name", "name", "name given to memfd_create"),), ours=True),
    Category("kernel_call", (ev.KernelCall, ev.NamespaceChange, ev.MountChange, ev.CredentialChange), _CALL, ours=True),
    Category(
        "namespace",
        (ev.NamespaceChange,),
        (*_CALL, _field("Namespaces", "namespaces", "list: `user`, `mount`, `pid`, `network`, ...")),
        ours=True,
    ),
    Category(
        "mount",
        (ev.MountChange,),
        (
            *_CALL,
            _field("TargetFilename", "path", "mount point or new root"),
            _field("Device", "device", "what is mounted"),
            _field("FileSystem", "filesystem", "its type, e.g. `tmpfs`"),
        ),
        ours=True,
    ),
    Category(
        "credential_change",
        (ev.CredentialChange,),
        (*_CALL, _field("Root", "root", "user or group 0, or a capability, was asked for")),
        ours=True,
    ),
    Category(EVERY_EVENT, KINDS, (), ours=True),
)


def category_named(name: str) -> Category | None:
    """Find a category.

    Args:
        name: `category` of a rule's logsource.

    Returns:
        The category, or None when there is none of that name.
    """
    return next((category for category in CATEGORIES if category.name == name), None)


def field_names(category: Category) -> tuple[str, ...]:
    """Give the names that rules of a category may use, common fields last.

    Args:
        category: One of `CATEGORIES`; rules of `fumehood` may use the fields of all.

    Returns:
        Names without repetition; those that an event has not are absent (null) in it.
    """
    own = CATEGORIES if category.name == EVERY_EVENT else (category,)
    names = [field.name for part in own for field in part.fields] + [field.name for field in COMMON]
    return tuple(dict.fromkeys(names))


@cache
def getters_by_kind() -> Mapping[type[ev.Event], Mapping[str, Getter]]:
    """Give, for each kind of event, how to get each field.

    Returns:
        Class of event to name of field to getter; a kind has the fields of all its categories.
    """
    return MappingProxyType(
        {
            kind: {
                **{field.name: field.get for field in COMMON},
                **{field.name: field.get for part in CATEGORIES if kind in part.kinds for field in part.fields},
            }
            for kind in KINDS
        }
    )


def field_table() -> str:
    """Write the fields of all categories as the Markdown that stands in `docs/rules.md`."""
    parts = [_table("Every category", "", COMMON)]
    for category in CATEGORIES:
        if not category.fields:
            continue
        kinds = ", ".join(f"`{kind.__struct_config__.tag}`" for kind in category.kinds)
        origin = " (not in Sigma's own taxonomy)" if category.ours else ""
        parts.append(_table(f"`{category.name}`", f"Events: {kinds}{origin}.\n\n", category.fields))
    every = "Events of every kind; the fields of all categories, absent where they do not apply."
    parts.append(f"### `{EVERY_EVENT}`\n\n{every}\n")
    return "\n".join(parts)


def _table(title: str, introduction: str, fields: Iterable[Field]) -> str:
    rows = "".join(f"| `{field.name}` | {field.text} |\n" for field in fields)
    return f"### {title}\n\n{introduction}| field | what it holds |\n|---|---|\n{rows}"
