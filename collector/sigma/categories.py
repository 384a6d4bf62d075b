"""The Sigma categories of our own rules: which kinds of event each has, and what their fields are called there."""

from __future__ import annotations

from typing import get_args

from collector import events as ev
from collector.sigma.schema import Category, field
from collector.sigma.values import event_only, uri

EVERY_EVENT = "fumehood"
"""The category of rules that look at events of every kind."""

KINDS: tuple[type[ev.Event], ...] = get_args(ev.AnyEvent)
TAGS: tuple[str, ...] = tuple(str(kind.__struct_config__.tag) for kind in KINDS)

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
    Category(
        "resource_sample",
        (ev.ResourceSample,),
        (
            field("Processes", "processes", "the most that were alive at one moment"),
            field("ResidentBytes", "rss_bytes", "the most resident memory at one moment"),
            field("ProcessorTime", "cpu_ms", "processor time in this part of the phase, milliseconds"),
            field("WallTime", "wall_ms", "wall-clock time of this part, milliseconds"),
        ),
        ours=True,
    ),
    Category(EVERY_EVENT, KINDS, (), ours=True),
)
