"""Attacks on those that watch: the tracer, process 1, the phase's driver; and on processes of the machine."""

from __future__ import annotations

from tests.escape.attempt import REFUSED, Attempt, Differs

_OF_NO_USE = "the call is not traced; it changes nothing outside of the process's own rights"
_NO_PRIORITIES = Differs(
    why="gVisor takes the words and has no priorities: nothing comes of them", word=rf"done (None|6)|{REFUSED}"
)

ATTEMPTS = (
    Attempt(
        name="ptrace-the-tracer",
        tries="to attach to the tracer and to process 1",
        code="attempt(*each(lambda pid: syscall(101, 16, pid, 0, 0), [watcher(), 1]))",
        told="process.access call=ptrace errno=E*",
        finding="process-tampering",
    ),
    Attempt(
        name="ptrace-seize-a-sibling",
        tries="to take over a process of its own that the tracer watches",
        code="""
def seize():
    child = os.fork()
    if child == 0:
        time.sleep(5)
        os._exit(0)
    try:
        return syscall(101, 0x4206, child, 0, 0)
    finally:
        os.kill(child, signal.SIGKILL)
attempt(seize)
""",
        told="process.access call=ptrace errno=E*",
        finding="process-tampering",
    ),
    Attempt(
        name="be-traced-by-another",
        tries="to have another tracer than ours",
        code="attempt(lambda: syscall(101, 0, 0, 0, 0))",
        told="kernel.call call=ptrace errno=E*",
    ),
    Attempt(
        name="kill-the-tracer",
        tries="to end or stop the tracer, or a process of the machine by its number there",
        code="attempt(*each(lambda how: os.kill(watcher(), how), [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP]))",
        told="process.access call=kill errno=EPERM",
        finding="foreign-process-signalled",
        differs={
            "bubblewrap": Differs(
                why="the tracer has no number in the package's pid namespace: the signal goes to nobody",
                told="",
                finding="",
                unseen="a signal to a number that nobody has is no event",
            )
        },
    ),
    Attempt(
        name="signals-by-other-calls",
        tries="to signal process 1 in the ways that are not kill",
        code="""
information = struct.pack("=iiiiII104x", signal.SIGUSR1, 0, -1, 0, os.getpid(), os.getuid())
def by_descriptor():
    signal.pidfd_send_signal(os.pidfd_open(1), signal.SIGUSR1)
attempt(
    lambda: syscall(129, 1, signal.SIGUSR1, information),
    lambda: syscall(234, 1, 1, signal.SIGUSR1),
    lambda: syscall(297, 1, 1, signal.SIGUSR1, information),
    by_descriptor,
)
""",
        told="process.access call=rt_sigqueueinfo errno=E*",
        finding="foreign-process-signalled",
        differs={
            "bubblewrap": Differs(
                why="process 1 runs as the package's user; it drops what it does not expect",
                word=rf"done (0|None)|{REFUSED}",
                told="process.access call=pidfd_send_signal errno=",
            )
        },
    ),
    Attempt(
        name="memory-of-others-by-call",
        tries="to read and write memory of the tracer and of process 1",
        code="""
buffer = ctypes.create_string_buffer(16)
vector = struct.pack("QQ", ctypes.addressof(buffer), 1)
acts = [(number, pid) for number in (310, 311) for pid in (watcher(), 1)]
attempt(*each(lambda act: syscall(act[0], act[1], vector, 1, vector, 1, 0), acts))
""",
        told="process.access call=process_vm_readv errno=E*",
        finding="process-tampering",
    ),
    Attempt(
        name="memory-of-others-by-file",
        tries="to open memory of the tracer and of the phase's own driver",
        code="""
def driver():
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            if pid > 1 and b"--result-fd" in open(f"/proc/{pid}/cmdline", "rb").read():
                return pid
        except OSError:
            pass
def look(pid):
    if pid is None:
        raise OSError(errno.ESRCH, "")
    return open(f"/proc/{pid}/mem", "r+b", buffering=0)
attempt(*each(look, [watcher(), driver(), os.getppid()]))
""",
        told="process.access call=/proc/mem errno=E*",
        finding="process-tampering",
    ),
    Attempt(
        name="memory-of-process-1",
        tries="to open memory of process 1, to act in its name",
        code="attempt(lambda: open('/proc/1/mem', 'r+b', buffering=0).name)",
        told="process.access call=/proc/mem errno=E*",
        finding="process-tampering",
        differs={
            "bubblewrap": Differs(
                why="bubblewrap's reaper is of the package's user; see docs/threat-model.md, what is not promised",
                word="done /proc/1/mem",
                told="process.access call=/proc/mem",
            )
        },
    ),
    Attempt(
        name="environment-of-others",
        tries="to read the environments of the tracer, of process 1 and of the driver",
        code="""
def look(pid):
    theirs = set(open(f"/proc/{pid}/environ", "rb").read().split(b"\\0"))
    return sorted(theirs - set(open("/proc/self/environ", "rb").read().split(b"\\0")))
attempt(*each(look, [1, watcher()]))
""",
        word=rf"done \[\]|{REFUSED}",
        told="file.read path=/proc/1/environ",
        finding="environment-of-others-read",
        differs={
            "runsc": Differs(
                why="gVisor shows environments to all; process 1 has the container's, which holds nothing secret",
                word=rf"done \[(b'(HOME|HOSTNAME|PATH|LANG)=[^']*'(, )?)*\]|{REFUSED}",
            )
        },
    ),
    Attempt(
        name="descriptors-of-others",
        tries="to open what the driver, the tracer and process 1 have open: result, channel, trace",
        code="""
own = {"/dev/null", *(os.readlink(f"/proc/self/fd/{number}") for number in range(3))}
def look(pid):
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        path = f"/proc/{pid}/fd/{name}"
        if os.readlink(path) not in own:
            try:
                os.close(os.open(path, os.O_WRONLY))
                found.append(os.readlink(path))
            except OSError:
                pass
    return found
attempt(*each(look, [1, watcher()]), lambda: os.open("/proc/1/fd/4", os.O_WRONLY))
""",
        word=rf"done \[\]|{REFUSED}",
        told="file.write path=/proc/1/fd/4 errno=E*",
    ),
    Attempt(
        name="take-a-descriptor",
        tries="to copy a descriptor out of process 1 and the tracer",
        code="""
def take(pid):
    return syscall(438, os.pidfd_open(pid), 1, 0)
attempt(lambda: syscall(438, os.pidfd_open(os.getpid()), 0, 0), *each(take, [1, watcher()]))
""",
        told="process.access call=pidfd_getfd errno=E*",
        finding="process-tampering",
        differs={
            "runsc": Differs(
                why="gVisor of 2022 has no pidfd_open: there is nothing to take from",
                told="",
                finding="",
                unseen="without the descriptor of a process the call is not made",
            )
        },
    ),
    Attempt(
        name="limits-of-the-tracer",
        tries="to starve the tracer by its resource limits",
        code="""
import resource
attempt(*each(lambda what: resource.prlimit(watcher(), what, (0, 0)), [resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE]))
""",
        unseen=_OF_NO_USE,
    ),
    Attempt(
        name="priority-of-the-tracer",
        tries="to starve the tracer by its priority, processors and disk priority",
        code="""
attempt(lambda: os.setpriority(os.PRIO_PROCESS, watcher(), 19),
        lambda: os.sched_setaffinity(watcher(), {0}),
        lambda: os.sched_setscheduler(watcher(), os.SCHED_IDLE, os.sched_param(0)),
        lambda: syscall(251, 1, watcher(), 3 << 13))
""",
        unseen=_OF_NO_USE,
        differs={"runsc": _NO_PRIORITIES},
    ),
    Attempt(
        name="real-time-and-nice",
        tries="to have more of the processors than others",
        code="""
attempt(lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50)),
        lambda: os.setpriority(os.PRIO_PROCESS, 0, -20),
        lambda: open("/proc/self/oom_score_adj", "w", buffering=1).write("-1000\\n"))
""",
        told="file.write path=/proc/self/oom_score_adj",
        differs={"runsc": _NO_PRIORITIES},
    ),
)
