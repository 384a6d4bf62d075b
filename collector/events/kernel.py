"""Events of memory, namespaces and mounts, of calls without a kind of their own, and of what the machine gave."""

from __future__ import annotations

from collector.events.event import Event


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


class ResourceSample(Event, frozen=True, kw_only=True, tag="resource.sample"):
    """What all processes of a phase together used in a part of its time; at most 60 parts a phase."""

    processes: int = 0
    """The most that were alive at one moment."""
    rss_bytes: int = 0
    """The most resident memory at one moment; a page that several share is counted for each."""
    cpu_ms: int = 0
    """Processor time in this part, milliseconds."""
    wall_ms: int = 0
    """Wall-clock time since the part before for which there is an event, or the phase's start, milliseconds."""
