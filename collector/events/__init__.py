"""The closed set of events: one normalised thing that happened, each with a `kind`.

Failed calls are events too and say so in `errno`: a `file.read` with `errno` is an attempt, not a read.
"""

from __future__ import annotations

from typing import TypeAlias

from collector.events.event import Event, Source
from collector.events.files import (
    FileDelete,
    FileDropped,
    FileLink,
    FileMode,
    FileOwner,
    FileRead,
    FileRename,
    FileWrite,
)
from collector.events.kernel import (
    KernelCall,
    MemoryExec,
    MemoryFile,
    MountChange,
    NamespaceChange,
    ResourceSample,
)
from collector.events.network import (
    DnsQuery,
    HttpRequest,
    NetworkAccept,
    NetworkConnect,
    NetworkListen,
    NetworkPayload,
    NetworkSend,
    NetworkUnix,
    TlsHello,
)
from collector.events.processes import (
    CredentialChange,
    ProcessAccess,
    ProcessExec,
    ProcessExit,
    ProcessSignal,
    ProcessStart,
)

AnyEvent: TypeAlias = (
    ProcessStart
    | ProcessExec
    | ProcessExit
    | ProcessAccess
    | ProcessSignal
    | CredentialChange
    | FileRead
    | FileWrite
    | FileDelete
    | FileRename
    | FileLink
    | FileMode
    | FileOwner
    | FileDropped
    | MemoryFile
    | MemoryExec
    | NamespaceChange
    | MountChange
    | KernelCall
    | ResourceSample
    | NetworkConnect
    | NetworkListen
    | NetworkAccept
    | NetworkSend
    | NetworkUnix
    | NetworkPayload
    | DnsQuery
    | TlsHello
    | HttpRequest
)

__all__ = [
    "AnyEvent",
    "CredentialChange",
    "DnsQuery",
    "Event",
    "FileDelete",
    "FileDropped",
    "FileLink",
    "FileMode",
    "FileOwner",
    "FileRead",
    "FileRename",
    "FileWrite",
    "HttpRequest",
    "KernelCall",
    "MemoryExec",
    "MemoryFile",
    "MountChange",
    "NamespaceChange",
    "NetworkAccept",
    "NetworkConnect",
    "NetworkListen",
    "NetworkPayload",
    "NetworkSend",
    "NetworkUnix",
    "ProcessAccess",
    "ProcessExec",
    "ProcessExit",
    "ProcessSignal",
    "ProcessStart",
    "ResourceSample",
    "Source",
    "TlsHello",
]
