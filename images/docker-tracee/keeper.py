"""Process 1 of a Docker pod's tracee: plants the package's files, then waits until the worker is gone.

Started as root. Reads `/fumehood/control/pod.json`, writes everything as the package's own user, says `ready` on
standard output, and ends when its standard input closes; the kernel then ends every process of the container.
"""

from __future__ import annotations

import base64
import json
import os
import select
import sys
from contextlib import suppress
from pathlib import Path

PLAN = Path("/fumehood/control/pod.json")
TICK = 0.2


def main() -> int:
    """Run the container's first process."""
    plan = json.loads(PLAN.read_bytes())
    child = os.fork()
    if child == 0:
        os._exit(plant(plan))
    if os.waitpid(child, 0)[1] != 0:
        print("error the package's files cannot be written", flush=True)
        return 1
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([0], [], [], TICK)
        if ready and not os.read(0, 4096):
            return 0
        # Whatever was left to process 1 has ended or will.
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


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
            with open(home / name, "wb", opener=lambda path, flags, private=private: opened(path, flags, private)) as file:
                file.write(content)
        for name, target in plan["links"].items():
            make_parents(home, name, 0o755)
            (home / name).symlink_to(target)
        # Only the home itself may be added to.
        home.parent.chmod(0o755)
    except OSError as error:
        print(f"error {error}", file=sys.stderr)
        return 1
    return 0


def opened(path: str, flags: int, private: bool) -> int:
    """Open a new file with its mode."""
    return os.open(path, flags | os.O_EXCL, 0o600 if private else 0o644)


def make_parents(home: Path, name: str, mode: int) -> None:
    """Make the directories between home and a file."""
    for directory in reversed((home / name).parents):
        if home in directory.parents and not directory.exists():
            directory.mkdir(mode=mode)


if __name__ == "__main__":
    sys.exit(main())
