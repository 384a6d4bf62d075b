"""The closed set of events: one normalised thing that happened, each with a `kind`.

Failed calls are events too and say so in `errno`: a `file.read` with `errno` is an attempt, not a read.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class Source(msgspec.Struct, frozen=True, order=True, gc=False):
    """Where in the bundle an event comes from."""

    file: str
    line: int


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=True, gc=False):
    """What all events share."""

    ts: float = 0.0
    """Seconds since the epoch."""
    phase: str
    actor: str = "target"
    """`installer`, `build-backend`, `dependency:<name>` or `target`; what is not known is `target`."""
    pid: int = 0
    """Process id as the tracer sees it, unique in the pod; 0 when unknown."""
    source: Source | None = None
    errno: str = ""
    """Name of the error (`ENOENT`) when the call failed; `SIGSYS` when the pod's filter refused it by this signal."""


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


class FileRead(Event, frozen=True, kw_only=True, tag="file.read"):
    """A file was opened for reading."""

    path: str


class FileWrite(Event, frozen=True, kw_only=True, tag="file.write"):
    """A file was opened for writing, created or truncated."""

    path: str
    created: bool = False
    """The open asked for creation (O_CREAT)."""


class FileDelete(Event, frozen=True, kw_only=True, tag="file.delete"):
    """A file or directory was removed."""

    path: str


class FileRename(Event, frozen=True, kw_only=True, tag="file.rename"):
    """A file was moved; `path` is the new name."""

    path: str
    old: str


class FileLink(Event, frozen=True, kw_only=True, tag="file.link"):
    """A link was made at `path`."""

    path: str
    target: str
    symbolic: bool = False


class FileMode(Event, frozen=True, kw_only=True, tag="file.mode"):
    """Permissions were changed; `mode` in octal, e.g. `0755`."""

    path: str
    mode: str


class FileOwner(Event, frozen=True, kw_only=True, tag="file.owner"):
    """The owner of a file was changed; -1 leaves the one or the other as it is."""

    path: str
    owner: int
    group: int


class FileDropped(Event, frozen=True, kw_only=True, tag="file.dropped"):
    """Something was there when the run ended, and neither planted nor put there by the installer."""

    path: str
    type: str
    """Of a file, what its content is: `elf`, `shell-script`, `python`, `zip`, `private-key`, `text`, `data`, ...
    (`collector.magic`); else `link`, `fifo`, `socket`, `character`, `block`, `unknown` or `unreadable`."""
    size: int = 0
    """Bytes."""
    sha256: str = ""
    mode: str = ""
    """Permissions in octal, e.g. `0755`."""
    target: str = ""
    """Of a link."""
    planted: bool = False
    """It was planted, and its content has changed."""
    bait: tuple[str, ...] = ()
    """Bait found in its first bytes, as `name/encoding`."""


class MemoryFile(Event, frozen=True, kw_only=True, tag="memory.file"):
    """A file in memory was made (memfd_create)."""

    name: str


class MemoryExec(Event, frozen=True, kw_only=True, tag="memory.exec"):
    """Memory was made executable after it had been mapped; only the first few of a process are told.

    So does code that writes programs into memory: just-in-time compilers, and whoever hides one from the disk. Memory
    that is mapped executable at once is not seen (docs/threat-model.md).
    """

    call: str
    """`mprotect` or `pkey_mprotect`."""
    size: int = 0
    """Bytes."""
    writable: bool = False
    """It can be written to at the same time."""


class NamespaceChange(Event, frozen=True, kw_only=True, tag="kernel.namespace"):
    """A process asked for namespaces of its own, or to enter others'."""

    call: str
    """`unshare`, `setns`, `clone` or `clone3`."""
    args: str = ""
    """As the tracer printed them; of `clone` and `clone3` the flags alone."""
    namespaces: tuple[str, ...] = ()
    """`user`, `mount`, `pid`, `network`, `ipc`, `uts`, `cgroup`, `time`; none when the call does not tell."""


class MountChange(Event, frozen=True, kw_only=True, tag="kernel.mount"):
    """A process asked to mount, to unmount, or for another root directory."""

    call: str
    """`mount`, `umount2`, `pivot_root`, `chroot`, `move_mount`, ..."""
    args: str = ""
    """As the tracer printed them."""
    path: str = ""
    """Where: the mount point or the new root; empty when the call names none."""
    device: str = ""
    """What is mounted there; empty when the call names none."""
    filesystem: str = ""
    """Its type, e.g. `tmpfs`; empty when the call names none."""


class KernelCall(Event, frozen=True, kw_only=True, tag="kernel.call"):
    """A privileged or evasive system call without a kind of its own: bpf, io_uring_setup, ptrace of self, ..."""

    call: str
    args: str = ""
    """As the tracer printed them. Of a call refused by a signal: what the signal says, with the filter's reason as
    `si_errno`."""


class NetworkConnect(Event, frozen=True, kw_only=True, tag="network.connect"):
    """A connection was dialled (TCP), or a UDP socket given its peer."""

    ip: str
    port: int
    protocol: str = "tcp"
    host: str = ""
    """The name whose DNS answer gave `ip`, when the pod asked for one."""
    role: str = ""
    """See `HttpRequest.role`."""
    said: str = ""
    """What the gateway heard on it first: `tls`, `http`, `raw` (anything else) or `silent` (nothing); empty when no
    connection at the gateway is this one (UDP, a failed dial, a server in the pod)."""
    sent: int = 0
    """Bytes that the package sent on it, as the gateway counted them."""
    received: int = 0
    """Bytes that it was answered."""


class NetworkListen(Event, frozen=True, kw_only=True, tag="network.listen"):
    """A socket was bound to a port or began to listen."""

    ip: str
    port: int
    protocol: str = "tcp"


class NetworkAccept(Event, frozen=True, kw_only=True, tag="network.accept"):
    """A connection was accepted; both ends are in the pod, which nothing reaches from outside."""

    ip: str
    """The peer's address."""
    port: int
    protocol: str = "tcp"
    local_ip: str = ""
    local_port: int = 0


class NetworkSend(Event, frozen=True, kw_only=True, tag="network.send"):
    """A process sent the first packet outside TCP to an address, or (with `errno`) could not.

    Later ones of the same process to the same address, with the same outcome, are no events. What the packets carried
    is in `network.payload` and `dns.query`.
    """

    ip: str
    port: int
    protocol: str = "udp"
    host: str = ""
    """See `NetworkConnect.host`."""
    role: str = ""
    """See `HttpRequest.role`."""
    size: int = 0
    """Bytes of this packet."""


class NetworkUnix(Event, frozen=True, kw_only=True, tag="network.unix"):
    """A unix socket was dialled; abstract names begin with `@`."""

    path: str


class NetworkPayload(Event, frozen=True, kw_only=True, tag="network.payload"):
    """Bytes that left outside HTTP and DNS: raw TCP, UDP, ICMP."""

    ip: str
    port: int = 0
    protocol: str = "tcp"
    host: str = ""
    role: str = ""
    payload: str = ""
    """Decoded as UTF-8 with escapes for the rest, bounded."""
    size: int = 0
    bait: tuple[str, ...] = ()


class DnsQuery(Event, frozen=True, kw_only=True, tag="dns.query"):
    """A name was looked up, and what was answered: one event, so that a rule can speak of both."""

    name: str
    qtype: str = "A"
    answers: tuple[str, ...] = ()
    rcode: str = "NOERROR"
    """Status of the answer: `NOERROR`, `NXDOMAIN`, ..."""
    role: str = ""
    bait: tuple[str, ...] = ()


class TlsHello(Event, frozen=True, kw_only=True, tag="tls.hello"):
    """A TLS handshake began; `completed` is false when the client did not accept our certificate."""

    ip: str
    port: int = 443
    sni: str = ""
    role: str = ""
    completed: bool = True
    bait: tuple[str, ...] = ()


class HttpRequest(Event, frozen=True, kw_only=True, tag="http.request"):
    """An HTTP request and its answer; what it carried and who answered."""

    method: str
    host: str
    target: str
    """Path and query as sent."""
    ip: str = ""
    port: int = 80
    tls: bool = False
    user_agent: str = ""
    size: int = 0
    """Bytes of body."""
    body: str = ""
    """Decoded as UTF-8 with escapes for the rest, bounded."""
    role: str = ""
    """`registry` (one of the run's registry hosts), `metadata` (a cloud metadata address), `local` (loopback) or
    empty for everything else."""
    status: int = 0
    """Status of the answer; 0 when there was none."""
    response_size: int = 0
    """Bytes of the answer's body."""
    response_type: str = ""
    """The answer's media type, e.g. `text/html`, bounded; empty when it named none."""
    bait: tuple[str, ...] = ()
    """Bait found in the request, as `name/encoding`, e.g. `aws-secret-access-key/base64`."""


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
