"""The last step before a phase's command, already traced: its limits, its user, no capability, its call filter.

Started as root with the name of the phase, in the command's own process, environment and directory. Nothing of it is
in the events: they begin with the program that it executes.
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

PLAN = Path("/fumehood/control")
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 23, 24, 38
CAPABILITIES = 64
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
CAPABILITY_VERSION = 0x20080522
EXPENDABLE = "900"
"""When memory ends, the package's processes go before ours. One that takes this back, down to what ours have, competes
with them by size; a tracer that is killed is noticed (phase.py)."""


class Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def main() -> None:
    """Run the command line; never returns."""
    # Before the files of root's are out of reach. The command does not inherit it. The worker, who reads it on the
    # other side, need not be root.
    faults = os.open(PLAN / f"{sys.argv[1]}.status", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        plan = json.loads((PLAN / f"{sys.argv[1]}.json").read_bytes())
        limit(plan["limits"])
        become(plan["uid"])
        # What Python ignores, its children would ignore too.
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        load_filter(base64.b64decode(plan["filter"]))
    except BaseException as error:
        os.write(faults, json.dumps({"error": f"the command's process cannot be set up: {error!r}"}).encode() + b"\n")
        raise
    try:
        os.execv(plan["argv"][0], plan["argv"])
    except OSError as error:
        print(f"{plan['argv'][0]}: {error.strerror}", file=sys.stderr, flush=True)
    os._exit(127)


def limit(limits: dict[str, int]) -> None:
    """Set the limits of this process and all below it, which they cannot raise; by name after `RLIMIT_`."""
    for name, wanted in limits.items():
        number = getattr(resource, f"RLIMIT_{name}")
        _, most = resource.getrlimit(number)
        value = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(number, (value, value))
    with suppress(OSError):  # gVisor's kernel ends a whole sandbox, not a process
        Path("/proc/self/oom_score_adj").write_text(EXPENDABLE, encoding="ascii")


def become(uid: int) -> None:
    """Become the package's user for good: no group, no capability, none to be had again."""
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    for capability in range(CAPABILITIES):
        known = library.prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1
        if known and library.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"capability {capability} cannot be dropped")
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    if library.capset(header, (ctypes.c_uint32 * 6)()) != 0:
        raise OSError(ctypes.get_errno(), "capabilities cannot be given up")
    if library.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "privileges cannot be renounced")


def load_filter(instructions: bytes) -> None:
    """Put this process and all below it under the pod's system call filter."""
    program = Program(len(instructions) // 8, instructions)
    if ctypes.CDLL(None).prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
        raise OSError("the kernel refuses the system call filter")


if __name__ == "__main__":
    main()
