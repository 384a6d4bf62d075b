"""Which Sigma category an event belongs to, and what its fields are called there.

The tables of `docs/rules.md` are made from this module by `collector.sigma.document`.
"""

from __future__ import annotations

from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, get_args

from collector import events as ev
from collector.manifest import PHASES
from collector.sigma.schema import Category, Field, field
from collector.sigma.taxonomy import FOREIGN
from collector.sigma.values import (
    ancestors,
    command_line,
    event_only,
    home_path,
    host,
    image,
    parent_command_line,
    parent_image,
    uri,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collector.sigma.view import Getter

EVERY_EVENT = "fumehood"
"""The category of rules that look at events of every kind."""

KINDS: tuple[type[ev.Event], ...] = get_args(ev.AnyEvent)
TAGS: tuple[str, ...] = tuple(str(kind.__struct_config__.tag) for kind in KINDS)


ROLES = ("registry", "metadata", "local", "")

COMMON: tuple[Field, ...] = (
    field(
        "Kind",
        event_only(lambda event: str(type(event).__struct_config__.tag)),
        "kind of the event, e.g. `file.read`",
        TAGS,
    ),
    field("Phase", "phase", "`dependencies`, `install`, `startup`, `import`, `exercise` or `linger`", PHASES),
    field(
        "Actor",
        "actor",
        "`installer`, `build-backend`, `dependency:<name>` or `target`",
        ("installer", "build-backend", "dependency:*", "target"),
    ),
    field("Errno", "errno", "name of the error of a call that failed, e.g. `ENOENT`; empty when it succeeded"),
    field("ProcessId", event_only(lambda event: event.pid or None), "process that did it; absent when unknown"),
    field("Image", image, "program of that process"),
    field("CommandLine", command_line, "its arguments, joined with spaces"),
    field("ParentImage", parent_image, "program of its parent"),
    field("ParentCommandLine", parent_command_line, "arguments of its parent, joined with spaces"),
    field("Ancestors", ancestors, "list: programs of its parents, nearest first, up to the root of the phase"),
    field(
        "Bait",
        event_only(lambda event: getattr(event, "bait", None)),
        "list: planted secrets in it, as `name/encoding` ([bait](bait.md)); the outermost of several encodings first",
    ),
    field(
        "HostRole",
        event_only(lambda event: getattr(event, "role", None)),
        "`registry`, `metadata`, `local`, or empty for any other host; absent where no host is involved",
        ROLES,
    ),
    field(
        "Host",
        event_only(host),
        "remote host in lower case: its name where one is known, else its address; absent where none is involved",
    ),
    field("User", lambda _, context: context.user, "name of the tracee's user"),
    field("HomePath", home_path, "path (or program) below the home directory, as `~/...`; absent elsewhere"),
)

_DESTINATION = (
    field("DestinationIp", "ip", "address as dialled"),
    field("DestinationPort", "port", "port as dialled"),
)
_NAMED_DESTINATION = (
    *_DESTINATION,
    field("DestinationHostname", "host", "name whose DNS answer gave the address; empty when none did"),
    field("Protocol", "protocol", "`tcp`, `udp`, `icmp`, ..."),
)
_PATH = field("TargetFilename", "path", "absolute path")

_CALL = (
    field("Call", "call", "system call, e.g. `unshare`"),
    field("Arguments", "args", "its arguments"),
)

CATEGORIES: tuple[Category, ...] = (
    Category(
        "process_creation",
        (ev.ProcessExec,),
        (
            field("CurrentDirectory", "cwd", "working directory"),
            field("ParentProcessId", "parent", "process id of the parent"),
            field(
                "Stdio",
                "stdio",
                "`ip:port` when standard input, output or error is an internet socket, or leads to one",
            ),
            field("Origin", "origin", "`written`, `downloaded` or `memory` when this run made the program; else empty"),
        ),
    ),
    Category("file_access", (ev.FileRead,), (_PATH,)),
    Category(
        "file_event",
        (ev.FileWrite, ev.FileRename, ev.FileLink),
        (
            _PATH,
            field(
                "Created",
                event_only(lambda event: getattr(event, "created", None)),
                "the open asked to create the file",
            ),
            field("SourceFilename", event_only(lambda event: getattr(event, "old", None)), "old name, of a rename"),
            field("LinkTarget", event_only(lambda event: getattr(event, "target", None)), "what a new link points to"),
        ),
    ),
    Category("file_delete", (ev.FileDelete,), (_PATH,)),
    Category("file_change", (ev.FileMode,), (_PATH, field("Mode", "mode", "new permissions in octal, e.g. `'0755'`"))),
    Category(
        "file_owner",
        (ev.FileOwner,),
        (
            _PATH,
            field("Owner", "owner", "number of the new owner; -1 for no change"),
            field("Group", "group", "number of the new group; -1 for no change"),
        ),
        ours=True,
    ),
    Category(
        "file_dropped",
        (ev.FileDropped,),
        (
            _PATH,
            field(
                "FileType", "type", "what it is, by content: `elf`, `shell-script`, `private-key`, `link`, `fifo`, ..."
            ),
            field("Size", "size", "bytes"),
            field("Sha256", "sha256", "digest in lower-case hex; empty of what is no regular file"),
            field("Mode", "mode", "permissions in octal, e.g. `'0755'`"),
            field("LinkTarget", "target", "what a link points to"),
            field("Planted", "planted", "it was planted, and its content has changed"),
        ),
        ours=True,
    ),
    Category(
        "network_connection",
        (ev.NetworkConnect,),
        (
            *_NAMED_DESTINATION,
            field("Initiated", lambda _event, _context: True, "always true"),
            field(
                "Said", "said", "what the gateway heard first: `tls`, `http`, `raw`, `silent`; empty when it heard none"
            ),
            field("BytesSent", "sent", "bytes that the package sent on it"),
            field("BytesReceived", "received", "bytes that it was answered"),
        ),
    ),
    Category(
        "network_listen",
        (ev.NetworkListen,),
        (
            field("SourceIp", "ip", "local address"),
            field("SourcePort", "port", "local port"),
            field("Protocol", "protocol", "`tcp` or `udp`"),
        ),
        ours=True,
    ),
    Category(
        "network_accept",
        (ev.NetworkAccept,),
        (
            field("SourceIp", "ip", "address of the peer"),
            field("SourcePort", "port", "port of the peer"),
            field("DestinationIp", "local_ip", "local address"),
            field("DestinationPort", "local_port", "local port"),
            field("Protocol", "protocol", "`tcp`"),
        ),
        ours=True,
    ),
    Category(
        "network_send",
        (ev.NetworkSend,),
        (*_NAMED_DESTINATION, field("Size", "size", "bytes of the first packet")),
        ours=True,
    ),
    Category("unix_socket", (ev.NetworkUnix,), (_PATH,), ours=True),
    Category(
        "network_payload",
        (ev.NetworkPayload,),
        (
            *_NAMED_DESTINATION,
            field("Payload", "payload", "bytes sent, as UTF-8 with escapes, bounded"),
            field("Size", "size", "bytes sent"),
        ),
        ours=True,
    ),
    Category(
        "dns_query",
        (ev.DnsQuery,),
        (
            field("QueryName", "name", "name looked up"),
            field("QueryType", "qtype", "`A`, `AAAA`, `TXT`, ..."),
            field("QueryResults", "answers", "list: what was answered"),
            field("QueryStatus", "rcode", "status of the answer, e.g. `NOERROR`"),
        ),
    ),
    Category(
        "dns",
        (ev.DnsQuery,),
        (
            field("query", "name", "name looked up"),
            field("record_type", "qtype", "`A`, `AAAA`, `TXT`, ..."),
            field("answer", "answers", "list: what was answered"),
        ),
    ),
    Category(
        "tls",
        (ev.TlsHello,),
        (
            field("ServerName", "sni", "name asked for (SNI)"),
            field("Completed", "completed", "the client accepted our certificate"),
            *_DESTINATION,
        ),
        ours=True,
    ),
    Category(
        "proxy",
        (ev.HttpRequest,),
        (
            field("c-uri", event_only(uri), "scheme, host, path and query"),
            field("c-uri-query", event_only(lambda event: event.target.partition("?")[2]), "what follows the `?`"),
            field("cs-method", "method", "`GET`, `POST`, ..."),
            field("cs-host", "host", "host as the request names it"),
            field("r-dns", "host", "the same"),
            field("c-useragent", "user_agent", "User-Agent header"),
            field("sc-status", event_only(lambda event: event.status or None), "status of the answer"),
            field("cs-bytes", "size", "bytes of body"),
            field("sc-bytes", "response_size", "bytes of the answer's body"),
            field("sc-content-type", "response_type", "media type of the answer"),
            field("Body", "body", "body as UTF-8 with escapes, bounded"),
            *_DESTINATION,
        ),
    ),
    Category(
        "process_access",
        (ev.ProcessAccess,),
        (
            field("Call", "call", "system call, e.g. `ptrace`"),
            field("TargetProcessId", event_only(lambda event: event.target or None), "the other process"),
            field("Signal", "signal", "signal that was sent, e.g. `SIGKILL`; empty for other calls"),
        ),
    ),
    Category(
        "process_signal",
        (ev.ProcessSignal,),
        (
            field("Signal", "signal", "signal that reached the process"),
            field("SourceProcessId", event_only(lambda event: event.sender or None), "the process that sent it"),
            field("Code", "code", "why, e.g. `SI_USER`, `SEGV_MAPERR`"),
        ),
        ours=True,
    ),
    Category("memory_file", (ev.MemoryFile,), (field("Name", "name", "name given to memfd_create"),), ours=True),
    Category(
        "memory_exec",
        (ev.MemoryExec,),
        (
            field("Call", "call", "`mprotect` or `pkey_mprotect`"),
            field("Size", "size", "bytes"),
            field("Writable", "writable", "the memory can be written to as well"),
        ),
        ours=True,
    ),
    Category("kernel_call", (ev.KernelCall, ev.NamespaceChange, ev.MountChange, ev.CredentialChange), _CALL, ours=True),
    Category(
        "namespace",
        (ev.NamespaceChange,),
        (*_CALL, field("Namespaces", "namespaces", "list: `user`, `mount`, `pid`, `network`, ...")),
        ours=True,
    ),
    Category(
        "mount",
        (ev.MountChange,),
        (
            *_CALL,
            field("TargetFilename", "path", "mount point or new root"),
            field("Device", "device", "what is mounted"),
            field("FileSystem", "filesystem", "its type, e.g. `tmpfs`"),
        ),
        ours=True,
    ),
    Category(
        "credential_change",
        (ev.CredentialChange,),
        (*_CALL, field("Root", "root", "user or group 0, or a capability, was asked for")),
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
    names = [it.name for part in own for it in part.fields] + [it.name for it in COMMON]
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
                **{it.name: it.get for it in COMMON},
                **{it.name: it.get for part in (*CATEGORIES, *FOREIGN) if kind in part.kinds for it in part.fields},
            }
            for kind in KINDS
        }
    )


@cache
def searched_by_kind() -> Mapping[type[ev.Event], tuple[str, ...]]:
    """Give, for each kind of event, the fields that values without a field (keywords) are searched for in."""
    return MappingProxyType(
        {kind: tuple(name for name in getters if "." not in name) for kind, getters in getters_by_kind().items()}
    )
