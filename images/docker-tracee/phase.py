"""Runs one phase in a Docker pod's tracee, as root, in a process that keeper.py forks.

Reads `/fumehood/control/NAME.json` and appends a JSON object a line to `/fumehood/control/NAME.status`:
`{"sample": ...}` now and then; `{"hit": ...}` for a limit that was met; `{"exit": CODE, "survivors": N, "oom": N}` when
the phase's command has ended; `{"printed": [OUT, ERR]}` (bytes) once more was printed than is kept, and at the end;
`{"error": TEXT}` for a fault of ours; `{"ended": WHOLE}` when nothing of the phase lives any more, and whether the
tracer has finished its file. What the package prints goes to `/fumehood/output/NAME.stdout` and `.stderr`, what a
driver writes to its result descriptor to `NAME.result`, all bounded.

The tracer is started with `--daemonize=session`: the traced command is this process's own child, whose exit code it
learns at once, while the tracer goes on as long as something of the phase lives. The tracer is then left to us as well;
that its file is whole is known only once it has been waited for and ended with 0.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from contextlib import suppress
from ctypes import CDLL
from pathlib import Path

import processes
from command import start
from files import CONTROL, OUTPUT, Sink, append, tracer_file

RESULT_BYTES = 1 << 20
DRAIN = 256
PR_SET_CHILD_SUBREAPER = 36
TICK = 0.02
FIRST_TICK = 0.002
"""Until the tracer is found: a command may be short."""
LAST_WORDS = 0.2
"""How long processes may take to end after their phase's command before they count as survivors."""
PATIENCE = 8.0
GONE = 0.5
LAST_CODES = 2.0
"""How long the exit codes of the command and its tracer may take when both have ended."""
FIRST_SAMPLE, SAMPLE_EVERY = 0.05, 0.25


class Phase:
    """The command, its tracer, and what lives below them."""

    def __init__(self, name: str, control: int) -> None:
        self.plan = plan = json.loads((CONTROL / f"{name}.json").read_bytes())
        self.name = name
        self.trace = plan["trace"].encode()
        self.freezes = plan["freezes"]
        self.tracer = 0
        self.tracer_code: int | None = None
        self.ended_unknown: list[int] = []
        """Exit codes of root's processes that ended before the tracer was known: it may be among them."""
        self.childless = False
        """Nothing below us was left when we last looked."""
        self.usage = processes.Usage()
        self.oom = processes.oom_kills()
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
        self.began = time.monotonic()
        self.sample_at = self.began + FIRST_SAMPLE
        self.met: set[str] = set()
        self.stopping = 0.0
        self.control = control
        self.listening = [control, *self.sinks]

    def run(self) -> None:
        """Serve the worker until nothing of the phase is left."""
        while True:
            self.read(TICK if self.tracer else FIRST_TICK)
            self.reap()
            if not self.tracer and not self.find_tracer() and self.code is not None:
                break
            if self.tracer and not processes.alive(self.tracer):
                break
            now = time.monotonic()
            if self.code is not None and not self.told_exit and now - self.root_ended > LAST_WORDS:
                self.tell_exit(len(self.living()))
            if now > self.sample_at:
                self.sample_at = now + min(SAMPLE_EVERY, max(now - self.began, FIRST_SAMPLE))
                self.take_sample()
            if not self.stopping and not self.freezes and len(processes.pids()) > self.plan["pids"]:
                seen = processes.threads_of(self.plan["uid"])
                self.end_for({"name": "processes", "limit": self.plan["limits"]["NPROC"], "seen": seen})
            if self.stopping and now - self.stopping > PATIENCE:
                break
        self.finish()

    def take_sample(self) -> None:
        """Say what the phase uses, and which of its limits it has met."""
        living = self.living()
        sample = self.usage.sample(living)
        self.tell({"sample": sample})
        plan = self.plan
        most = plan["limits"]["NPROC"]
        if self.code is None and (seen := processes.threads_of(plan["uid"])) >= most:
            self.tell_hit({"name": "processes", "limit": most, "seen": seen})
        for hit in processes.full():
            self.tell_hit(hit)
        if self.stopping:
            return
        if sample["cpu_seconds"] >= plan["cpu_seconds"]:
            seen = int(sample["cpu_seconds"])
            self.end_for({"name": "cpu", "limit": plan["cpu_seconds"], "seen": seen})
        elif sample["rss_bytes"] > plan["memory_bytes"]:
            # Forks share most of their memory: only now is it worth to count precisely.
            seen = processes.shared_out(living)
            if seen > plan["memory_bytes"]:
                self.end_for({"name": "memory", "limit": plan["memory_bytes"], "seen": seen})

    def tell_hit(self, hit: dict) -> None:
        """Say once that a limit was met."""
        key = f"{hit['name']} {hit.get('what', '')}"
        if key not in self.met:
            self.met.add(key)
            self.tell({"hit": hit})

    def end_for(self, hit: dict) -> None:
        """End the phase, as a limit was met."""
        self.tell_hit({**hit, "ended": True})
        self.end()

    def finish(self) -> None:
        """Say how it ended."""
        hangs = self.tracer and processes.alive(self.tracer)
        if hangs:
            with suppress(ProcessLookupError):
                os.kill(self.tracer, signal.SIGKILL)
        until = time.monotonic() + LAST_CODES
        # A tracer that is killed takes its command with it, which may be seen to end before the tracer is.
        while (self.code is None or not self.knows_tracers_end()) and time.monotonic() < until:
            self.reap()
            self.ask_keeper()
            time.sleep(FIRST_TICK)
        if self.tracer:
            whole = not hangs and self.tracer_code == 0
        else:
            # On a busy machine a short command and its tracer may both have ended before we looked for the first time.
            whole = (
                self.childless and self.code is not None and bool(self.ended_unknown) and not any(self.ended_unknown)
            )
        if not whole:
            self.kill_untraced()
        self.drain()
        if not self.tracer and not whole:
            self.tell({"error": "the tracer did not start"})
        if not self.told_exit:
            self.tell_exit(0)
        self.tell_printed()
        self.tell({"ended": whole})

    def knows_tracers_end(self) -> bool:
        """Whether the tracer's exit code is known; of one that was never found, whether it is among those we have."""
        return self.tracer_code is not None if self.tracer else self.childless

    def kill_untraced(self) -> None:
        """Kill what a dead tracer has let go: it would act on unseen."""
        until = time.monotonic() + PATIENCE / 2
        while (loose := processes.untraced(self.plan["uid"])) and time.monotonic() < until:
            for pid in loose:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.reap()
            time.sleep(TICK)

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
        if not self.truncated and any(sink.left < 0 for sink in self.sinks.values()):
            self.truncated = True
            self.tell_printed()
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
                # First only looked at: whose process it was is not known once it has been waited for.
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                self.childless = True
                return
            self.childless = False
            if ended is None:
                return
            pid, status, used = os.wait4(ended.si_pid, 0)
            code = os.waitstatus_to_exitcode(status)
            if pid == self.tracer:
                self.tracer_code = code
                continue
            if not self.tracer and pid != self.root and ended.si_uid == 0:
                self.ended_unknown.append(code)
                continue
            self.usage.add(used.ru_utime + used.ru_stime)
            if pid == self.root:
                self.code = 128 - code if code < 0 else code
                self.root_ended = time.monotonic()

    def ask_keeper(self) -> None:
        """Take the tracer's exit code from process 1, where the kernel does not leave orphans to us (gVisor)."""
        if self.tracer and self.tracer_code is None:
            with suppress(OSError, ValueError):
                self.tracer_code = int(tracer_file(self.tracer).read_text(encoding="ascii"))

    def find_tracer(self) -> bool:
        """Find the tracer: whoever traces the command. Too late for that, it is root's process that names our trace.

        Not earlier, as the tracer passes through processes that end at once until it is in a session of its own.
        """
        with suppress(OSError, KeyError, ValueError):
            self.tracer = int(processes.fields(self.root)["TracerPid"])
        for pid in () if self.tracer or self.code is None else processes.pids():
            with suppress(OSError, KeyError):
                named = self.trace in Path(f"/proc/{pid}/cmdline").read_bytes()
                if named and processes.fields(pid)["Uid"].split()[0] == "0":
                    self.tracer = pid
        if self.tracer in {self.root, os.getpid()}:
            self.tracer = 0
        if self.tracer:
            tracer_file(self.tracer).write_text("")
        return self.tracer != 0

    def living(self) -> list[int]:
        """Processes (not threads) that the tracer watches."""
        return processes.traced_by(self.tracer) if self.tracer else []

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
                while not self.freezes and processes.alive(pid) and time.monotonic() < gone:
                    self.reap()
                    time.sleep(TICK / 10)
            killed |= new
            time.sleep(TICK)

    def tell_exit(self, survivors: int) -> None:
        """Say that the command has ended."""
        self.told_exit = True
        self.drain()
        if self.truncated:
            # The worker may judge the phase by this, before the tracer has ended.
            self.tell_printed()
        self.take_sample()
        self.tell({"exit": self.code, "survivors": survivors, "oom": processes.oom_kills() - self.oom})

    def tell_printed(self) -> None:
        """Say how much came on the command's outputs, kept or not."""
        _, *outputs = self.sinks.values()
        self.tell({"printed": [sink.limit - sink.left for sink in outputs]})

    def tell(self, message: dict) -> None:
        """Append a line for the worker."""
        append(self.name, message)


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
