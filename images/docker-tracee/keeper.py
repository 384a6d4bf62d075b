"""Process 1 of a Docker pod's tracee: plants the package's files, starts phases, and ends with its worker.

Started as root. Reads `/fumehood/control/pod.json`, writes everything as the package's own user and says `ready` on
standard output. Then it obeys the lines `run NAME` and `end NAME` on standard input; each phase gets a process of its
own (phase.py). At the line `dropped` one lists what the package left (sandbox/pod/dropped.py). It ends when standard
input closes, and the kernel then ends every process of the container.
"""

from __future__ import annotations

import base64
import json
import os
import select
import signal
import sys
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import files
import phase
import processes
from sandbox.pod import dropped

PLAN = files.CONTROL / "pod.json"
TICK = 0.05
DROPPED = "dropped"
"""An order, and the name of what obeys it: no phase is called so."""


def main() -> int:
    """Run the container's first process."""
    plan = json.loads(PLAN.read_bytes())
    child = os.fork()
    if child == 0:
        os._exit(plant(plan))
    if os.waitpid(child, 0)[1] != 0:
        print("error the package's files cannot be written", flush=True)
        return 1
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    keeper = Keeper(plan)
    print("ready", flush=True)
    pending = b""
    while True:
        ready, _, _ = select.select([0], [], [], TICK)
        if ready:
            chunk = os.read(0, 4096)
            if not chunk:
                return 0
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                keeper.obey(line.decode())
        keeper.reap()


class Keeper:
    """The phases' processes."""

    def __init__(self, plan: dict) -> None:
        self.plan = plan
        self.names: dict[int, str] = {}
        self.pipes: dict[str, int] = {}

    def obey(self, line: str) -> None:
        """Start or end a phase, or list what all of them have left."""
        word, _, name = line.partition(" ")
        if word in {"run", DROPPED}:
            try:
                self.start(name or word)
            except OSError as error:
                # What survives of earlier phases may hold every process that there may be.
                files.append(name or word, {"error": f"its runner cannot be started: {error.strerror}"})
                files.append(name or word, {"gone": True})
        elif name in self.pipes:
            with suppress(BrokenPipeError):
                os.write(self.pipes[name], b"end\n")

    def start(self, name: str) -> None:
        """Fork a phase's process."""
        reader, writer = os.pipe()
        try:
            pid = os.fork()
        except OSError:
            os.close(writer)
            raise
        else:
            if pid == 0:
                os.close(writer)
                for other in self.pipes.values():
                    os.close(other)
                if name == DROPPED:
                    list_dropped(self.plan)
                phase.main(name, reader)
            self.names[pid] = name
            self.pipes[name] = writer
        finally:
            os.close(reader)

    def reap(self) -> None:
        """Note which phases' processes have ended, and whatever else was left to process 1."""
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                # gVisor gives us the tracers that are a runner's; it waits for their code.
                if (tracer := files.tracer_file(pid)).exists():
                    tracer.write_text(str(os.waitstatus_to_exitcode(status)), encoding="ascii")
                name = self.names.pop(pid, "")
                if name:
                    os.close(self.pipes.pop(name))
                    # A runner that ended as it should has said more than this.
                    files.append(name, {"gone": True})


def list_dropped(plan: dict) -> None:
    """List what the package left; never returns."""
    code = 1
    try:
        order = json.loads((files.CONTROL / f"{DROPPED}.json").read_bytes())
        home = plan["home"]
        looked = dropped.Plan(
            places={place: place for place in processes.WRITABLE},
            planted={f"{home}/{name}": base64.b64decode(text) for name, text in plan["files"].items()},
            links={f"{home}/{name}": target for name, target in plan["links"].items()},
            site_packages=order["site_packages"],
            settled=order["settled"],
        )
        dropped.write(looked, str(files.CONTROL / dropped.FILE))
        code = 0
    finally:
        # Whatever became of it: a list without its end is told as such.
        os._exit(code)


def plant(plan: dict) -> int:
    """Write the home directory as the package's user; returns an exit code."""
    os.setgroups([])
    os.setresgid(plan["uid"], plan["uid"], plan["uid"])
    os.setresuid(plan["uid"], plan["uid"], plan["uid"])
    home = Path(plan["home"])
    os.umask(0)
    try:
        home.mkdir(mode=0o755)
        for name, text in plan["files"].items():
            private = name in plan["private"]
            make_parents(home, name, 0o700 if private else 0o755)
            content = base64.b64decode(text)
            descriptor = os.open(home / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o644)
            with open(descriptor, "wb") as file:
                file.write(content)
        for name, target in plan["links"].items():
            make_parents(home, name, 0o755)
            (home / name).symlink_to(target)
    except OSError as error:
        print(f"error {error}", file=sys.stderr)
        return 1
    return 0


def make_parents(home: Path, name: str, mode: int) -> None:
    """Make the directories between home and a file."""
    for directory in reversed((home / name).parents):
        if home in directory.parents and not directory.exists():
            directory.mkdir(mode=mode)


if __name__ == "__main__":
    sys.exit(main())
