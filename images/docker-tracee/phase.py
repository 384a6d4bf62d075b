"""Runs one phase in a Docker pod's tracee, as root, in a process that keeper.py forks.

Reads `/fumehood/control/NAME.json` and appends a JSON object a line to `/fumehood/control/NAME.status`:
`{"sample": ...}` now and then, `{"exit": CODE, "survivors": N, "oom": N}` when the phase's command has ended,
`{"truncated": true}` once more was printed than is kept, and `{"ended": WHOLE}` when nothing of the phase lives any
more and the tracer has finished its file. What the package prints goes to `/fumehood/output/NAME.stdout` and `.stderr`,
what a driver writes to its result descriptor to `NAME.result`, all bounded.

The tracer is started with `--daemonize=session`: the traced command is this process's own child, whose exit code it
learns at once, while the tracer goes on as long as something of the phase lives.
"""

from __future__ import annotations

import base64
import json
import os
import select
import signal
import time
from contextlib import suppress
from ctypes import CDLL, Structure, byref, c_char_p, c_ushort
from fcntl import F_DUPFD, fcntl
from pathlib import Path

CONTROL, OUTPUT = Path("/fumehood/control"), Path("/fumehood/output")
RESULT_BYTES = 1 << 20
HIGH = 64
"""Above every descriptor that a phase's command is given."""
DRAIN = 256
PR_SET_CHILD_SUBREAPER = 36
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
TICK = 0.02
SAMPLE_EVERY = 0.5
LAST_WORDS = 0.2
"""How long processes may take to end after their phase's command before they count as survivors."""
PATIENCE = 8.0
GONE = 0.5
OOM_COUNTERS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")


class Phase:
    """The command, its tracer, and what lives below them."""

    def __init__(self, name: str, control: int) -> None:
        plan = json.loads((CONTROL / f"{name}.json").read_bytes())
        self.name = name
        self.trace = plan["trace"].encode()
        self.freezes = plan["freezes"]
        self.processes = plan["processes"]
        self.tracer = 0
        self.tracer_code: int | None = None
        self.oom = oom_kills()
        sinks = {
            "result": (CONTROL / f"{name}.result", RESULT_BYTES),
            "stdout": (OUTPUT / f"{name}.stdout", plan["output_bytes"]),
            "stderr": (OUTPUT / f"{name}.stderr", plan["output_bytes"]),
        }
        pipes = {kind: os.pipe() for kind in sinks}
        self.root = os.fork()
        if self.root == 0:
            start(plan, {kind: writer for kind, (_, writer) in pipes.items()})
        self.sinks = {}
        for kind, (reader, writer) in pipes.items():
            os.close(writer)
            self.sinks[reader] = Sink(*sinks[kind])
        self.truncated = False
        self.code: int | None = None
        self.root_ended = 0.0
        self.told_exit = False
        self.sampled = time.monotonic()
        self.stopping = 0.0
        self.control = control
        self.listening = [control, *self.sinks]

    def run(self) -> None:
        """Serve the worker until nothing of the phase is left."""
        while True:
            self.read(TICK)
            self.reap()
            if not self.tracer and not self.find_tracer() and self.code is not None:
                break
            if self.tracer and not alive(self.tracer):
                break
            now = time.monotonic()
            if self.code is not None and not self.told_exit and now - self.root_ended > LAST_WORDS:
                self.tell_exit(len(self.living()))
            if now - self.sampled > SAMPLE_EVERY:
                self.sampled = now
                self.tell({"sample": self.sample()})
            if not self.stopping and not self.freezes and len(pids()) > self.processes:
                self.tell({"limit": "processes"})
                self.end()
            if self.stopping and now - self.stopping > PATIENCE:
                break
        self.finish()

    def finish(self) -> None:
        """Say how it ended."""
        whole = not (self.tracer and alive(self.tracer))
        if not whole:
            os.kill(self.tracer, signal.SIGKILL)
        until = time.monotonic() + 1
        while self.code is None and time.monotonic() < until:
            self.reap()
            time.sleep(TICK)
        self.drain()
        if not self.told_exit:
            self.tell_exit(0)
        self.tell({"ended": whole and self.tracer_code in (None, 0)})

    def read(self, seconds: float) -> bool:
        """Take what the worker, the driver and the package say; False when nobody had anything to say."""
        ready, _, _ = select.select(self.listening, [], [], seconds)
        for descriptor in ready:
            chunk = os.read(descriptor, 1 << 16)
            if descriptor in self.sinks:
                self.sinks[descriptor].take(chunk)
            elif not self.stopping:
                self.end()
            if not chunk:
                self.listening.remove(descriptor)
        if not self.truncated and any(sink.truncated for sink in self.sinks.values()):
            self.truncated = True
            self.tell({"truncated": True})
        return bool(ready)

    def drain(self) -> None:
        """Take what has been said already; what goes on for ever is said later too."""
        for _ in range(DRAIN):
            if not self.read(0):
                return

    def reap(self) -> None:
        """Take the exit codes of whatever has ended below us."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            if pid == self.root:
                self.code = 128 - code if code < 0 else code
                self.root_ended = time.monotonic()
            elif pid == self.tracer:
                self.tracer_code = code

    def find_tracer(self) -> bool:
        """Find the tracer: whoever traces the command. Too late for that, it is root's process that names our trace.

        Not earlier, as the tracer passes through processes that end at once until it is in a session of its own.
        """
        with suppress(OSError, KeyError, ValueError):
            self.tracer = int(fields(self.root)["TracerPid"])
        for pid in () if self.tracer or self.code is None else pids():
            with suppress(OSError, KeyError):
                if self.trace in Path(f"/proc/{pid}/cmdline").read_bytes() and fields(pid)["Uid"].split()[0] == "0":
                    self.tracer = pid
        if self.tracer in {self.root, os.getpid()}:
            self.tracer = 0
        return self.tracer != 0

    def living(self) -> list[int]:
        """Processes (not threads) that the tracer watches."""
        found = []
        for pid in pids():
            with suppress(OSError, KeyError, ValueError):
                seen = fields(pid)
                if int(seen["TracerPid"]) == self.tracer and seen["State"][0] not in "ZX":
                    found.append(pid)
        return found if self.tracer else []

    def end(self) -> None:
        """Kill whatever lives. Where that works, the tracer is stopped meanwhile: nothing it watches can fork away."""
        self.stopping = time.monotonic()
        if not self.tracer and not self.find_tracer():
            with suppress(ProcessLookupError):
                os.kill(self.root, signal.SIGKILL)
            return
        with suppress(ProcessLookupError):
            if self.freezes:
                os.kill(self.tracer, signal.SIGSTOP)
            self.kill()
            if self.freezes:
                os.kill(self.tracer, signal.SIGCONT)

    def kill(self) -> None:
        """Kill in rounds: a process with a pending SIGKILL makes no more, so each meets only what was made before."""
        killed: set[int] = set()
        until = time.monotonic() + PATIENCE / 2
        while (new := set(self.living()) - killed) and time.monotonic() < until:
            for pid in new:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                # gVisor hangs when many processes of one tracer end at once.
                gone = time.monotonic() + GONE
                while not self.freezes and alive(pid) and time.monotonic() < gone:
                    self.reap()
                    time.sleep(TICK / 10)
            killed |= new
            time.sleep(TICK)

    def sample(self) -> dict[str, float]:
        """Resources of the living processes, summed."""
        cpu, rss = 0.0, 0
        living = self.living()
        for pid in living:
            with suppress(OSError, ValueError, IndexError):
                words = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
                cpu += (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
                rss += int(words[21]) * os.sysconf("SC_PAGESIZE")
        return {"ts": time.time(), "processes": len(living), "cpu_seconds": round(cpu, 3), "rss_bytes": rss}

    def tell_exit(self, survivors: int) -> None:
        """Say that the command has ended."""
        self.told_exit = True
        self.drain()
        self.tell({"exit": self.code, "survivors": survivors, "oom": oom_kills() - self.oom})

    def tell(self, message: dict) -> None:
        """Append a line for the worker."""
        append(self.name, message)


class Sink:
    """A file that keeps the first bytes of what it is given."""

    def __init__(self, path: Path, limit: int) -> None:
        self.file = path.open("wb", buffering=0)
        self.left = limit
        self.truncated = False

    def take(self, chunk: bytes) -> None:
        """Keep a piece, or what there is room for."""
        self.truncated = self.truncated or len(chunk) > self.left
        if self.left:
            self.file.write(chunk[: self.left])
        self.left -= min(len(chunk), self.left)


def append(name: str, message: dict) -> None:
    """Append a line to a phase's status, at once and as a whole."""
    with (CONTROL / f"{name}.status").open("a", encoding="ascii") as status:
        status.write(json.dumps(message) + "\n")


def start(plan: dict, writers: dict[str, int]) -> None:
    """Become the tracer's command; never returns."""
    try:
        # High numbers first, so that nothing is overwritten before it is moved.
        moved = {kind: fcntl(writer, F_DUPFD, HIGH) for kind, writer in writers.items()}
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(moved["stdout"], 1)
        os.dup2(moved["stderr"], 2)
        keep = 3
        if plan["reports"]:
            os.dup2(moved["result"], plan["result_fd"])
            keep = plan["result_fd"] + 1
        os.closerange(keep, 4 * HIGH)
        os.chdir(plan["directory"])
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        load_filter(base64.b64decode(plan["filter"]))
        os.execve(plan["command"][0], plan["command"], plan["environment"])
    finally:
        os._exit(127)


class Program(Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", c_ushort), ("instructions", c_char_p))


def load_filter(instructions: bytes) -> None:
    """Put this process and all below it under the pod's system call filter (no_new_privs is set already)."""
    program = Program(len(instructions) // 8, instructions)
    if CDLL(None).prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, byref(program), 0, 0) != 0:
        raise OSError("the kernel refuses the system call filter")


def main(name: str, control: int) -> None:
    """Run a phase; never returns."""
    try:
        # The command shall be in a session of its phase, yet not its leader, as below any shell.
        os.setsid()
        CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        Phase(name, control).run()
    except BaseException as error:
        append(name, {"error": repr(error)})
        raise
    finally:
        os._exit(0)


def pids() -> list[int]:
    """Processes of the container."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def alive(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        return fields(pid)["State"][0] not in "ZX"
    except (OSError, KeyError):
        return False


def fields(pid: int) -> dict[str, str]:
    """A process's status. Its name is the package's choice; the kernel escapes line ends in it."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def oom_kills() -> int:
    """How often the kernel has ended a process of the container for want of memory."""
    for path in OOM_COUNTERS:
        with suppress(OSError, ValueError):
            for line in Path(path).read_text(encoding="ascii").splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return 0
