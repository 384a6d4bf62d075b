"""What a runner asks the kernel: which processes live, what they use, and which limits of the container were met."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

OOM_COUNTERS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
WRITABLE = ("/home", "/tmp", "/var/tmp", "/run", "/dev/shm")  # noqa: S108 - the package's
"""The package's places, each a tmpfs of its own."""


def pids() -> list[int]:
    """Processes of the container."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def fields(pid: int) -> dict[str, str]:
    """A process's status. Its name is the package's choice; the kernel escapes line ends in it."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def lives(status: dict[str, str]) -> bool:
    """Tell whether a process can still act. One whose main thread has ended is a zombie with threads that go on."""
    return status["State"][0] != "X" and (status["State"][0] != "Z" or int(status["Threads"]) > 1)


def alive(pid: int) -> bool:
    """Tell whether a process is there and can still act."""
    try:
        return lives(fields(pid))
    except (OSError, KeyError, ValueError):
        return False


def traced_by(tracer: int) -> list[int]:
    """Processes (not threads) that a tracer watches."""
    found = []
    for pid in pids():
        with suppress(OSError, KeyError, ValueError):
            status = fields(pid)
            if int(status["TracerPid"]) == tracer and lives(status):
                found.append(pid)
    return found


def untraced(uid: int) -> list[int]:
    """Processes of the package's user that nobody watches: their tracer has been killed."""
    found = []
    for pid in pids():
        with suppress(OSError, KeyError, ValueError):
            status = fields(pid)
            if status["TracerPid"] == "0" and lives(status) and str(uid) in status["Uid"].split():
                found.append(pid)
    return found


def threads_of(uid: int) -> int:
    """Count the package's processes and threads, as the kernel does for RLIMIT_NPROC."""
    found = 0
    for pid in pids():
        with suppress(OSError, KeyError, ValueError):
            status = fields(pid)
            if status["Uid"].split()[0] == str(uid):
                found += int(status["Threads"])
    return found


class Usage:
    """What a phase has used so far: its ended processes, as far as it can be known, and its living ones."""

    def __init__(self) -> None:
        self.waited = 0.0
        self.vanished = 0.0
        self.seen: dict[int, float] = {}
        self.most = {"cpu_seconds": 0.0, "read_bytes": 0, "written_bytes": 0}

    def add(self, seconds: float) -> None:
        """Count a process that has ended and was left to us, with the time of those it had waited for."""
        self.waited += seconds

    def sample(self, living: list[int]) -> dict[str, float]:
        """Give the numbers of this moment (`sandbox.pod.interface.Sample`)."""
        own: dict[int, float] = {}
        inherited, rss, read, written = self.waited, 0, 0, 0
        for pid in living:
            with suppress(OSError, ValueError, IndexError):
                words = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
                user, kernel, *of_children = (int(word) / os.sysconf("SC_CLK_TCK") for word in words[11:15])
                own[pid] = user + kernel
                inherited += own[pid] + sum(of_children)
                rss += int(words[21]) * os.sysconf("SC_PAGESIZE")
                moved = numbers(f"/proc/{pid}/io")
                # gVisor of 2022 writes the first name without its first letter.
                read += moved.get("rchar", moved.get("char", 0))
                written += moved.get("wchar", 0)
        # Less time than before: another process, with the number of one that has ended.
        self.vanished += sum(used for pid, used in self.seen.items() if own.get(pid, -1.0) < used)
        self.seen = own
        # Parents inherit the time of children that they wait for; of others what was seen last counts.
        cpu = round(max(inherited, self.vanished + sum(own.values())), 3)
        now = {"cpu_seconds": cpu, "read_bytes": read, "written_bytes": written}
        # What a process takes along when it ends unwaited for is not given back.
        self.most = {name: max(value, self.most[name]) for name, value in now.items()}
        return {"ts": time.time(), "processes": len(living), "rss_bytes": rss, **self.most}


def numbers(path: str) -> dict[str, int]:
    """Read a file of lines `name: number unit`; what is no number is left out."""
    found = {}
    for line in Path(path).read_text(encoding="ascii", errors="replace").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            found[name] = int(words[0])
    return found


def shared_out(living: list[int]) -> int:
    """Sum the memory of processes, with each shared page counted once.

    Where the kernel does not say (gVisor), nobody knows what is shared: then it is the largest process alone.
    """
    total = largest = 0
    for pid in living:
        with suppress(OSError):
            if (shared := numbers(f"/proc/{pid}/smaps_rollup").get("Pss")) is not None:
                total += shared << 10
                continue
        with suppress(OSError):
            largest = max(largest, numbers(f"/proc/{pid}/status").get("VmRSS", 0) << 10)
    return total + largest


def full() -> list[dict[str, object]]:
    """Places of the package that are full: no page is left, or no file can be made."""
    found = []
    for place in WRITABLE:
        with suppress(OSError):
            room = os.statvfs(place)
            size = room.f_blocks * room.f_frsize
            if size and (room.f_bavail == 0 or (room.f_files and room.f_favail == 0)):
                used = size - room.f_bfree * room.f_frsize
                found.append({"name": "disk", "limit": size, "seen": used, "what": place})
    return found


def oom_kills() -> int:
    """How often the kernel has ended a process of the container for want of memory."""
    for path in OOM_COUNTERS:
        with suppress(OSError, ValueError):
            for line in Path(path).read_text(encoding="ascii").splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return 0
