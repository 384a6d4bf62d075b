"""Ways to be a process that nobody watches, or one with more rights than the package has."""

from __future__ import annotations

from tests.escape.attempt import REFUSED, Attempt, Differs

ATTEMPTS = (
    Attempt(
        name="untraced-child",
        tries="a child that the tracer is not told of",
        code="""
def fork():
    pid = syscall(56, 0x00800000 | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    return os.waitpid(pid, 0)[1]
attempt(fork)
""",
        told="kernel.call call=clone errno=SIGSYS args=*ECHILD*",
        finding="evasive-kernel-call",
    ),
    Attempt(
        name="untraced-child-by-clone3",
        tries="the same by the newer call, whose flags no filter can see",
        code="""
flags = struct.pack("=8Q", 0x00800000, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
def fork():
    pid = syscall(435, flags, len(flags))
    if pid == 0:
        os._exit(0)
    return os.waitpid(pid, 0)[1]
attempt(fork)
""",
        told="kernel.call call=clone3 errno=ENOSYS args=*CLONE_UNTRACED*",
        finding="evasive-kernel-call",
    ),
    Attempt(
        name="supervise-calls-of-a-child",
        tries="to be asked for calls before the tracer is, and let them pass unseen",
        code="""
allow = struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)
rules = ctypes.create_string_buffer(allow)
program = struct.pack("=HxxxxxxQ", 1, ctypes.addressof(rules))
libc.prctl(38, 1, 0, 0, 0)
attempt(lambda: syscall(317, 1, 8, program))
""",
        told="kernel.call call=seccomp errno=SIGSYS args=*EREMOTE*",
        finding="evasive-kernel-call",
    ),
    Attempt(
        name="daemon-in-a-session-of-its-own",
        tries="to leave its parent, group and session, and act unseen",
        code="""
def leave():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(0.2)
            open("/tmp/escape.daemon", "w").close()
        os._exit(0)
    os.wait()
    for _ in range(60):
        time.sleep(0.1)
        if os.path.exists("/tmp/escape.daemon"):
            return "seen"
attempt(leave)
""",
        word="done seen",
        told="file.write path=/tmp/escape.daemon",
    ),
    Attempt(
        name="child-of-ones-parent",
        tries="a child that counts as a child of the driver's, to be taken for it",
        code="""
def fork():
    pid = syscall(56, 0x00008000 | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        open("/tmp/escape.sibling", "w").close()
        os._exit(0)
    time.sleep(0.5)
    return "forked"
attempt(fork)
""",
        word=rf"done forked|{REFUSED}",
        told="file.write path=/tmp/escape.sibling actor=target",
    ),
    Attempt(
        name="program-from-memory",
        tries="to run a program that never was a file, and have it act unseen",
        code="""
def run():
    descriptor = os.memfd_create("escape")
    os.write(descriptor, open("/bin/touch", "rb").read())
    if os.fork() == 0:
        os.execv(f"/proc/self/fd/{descriptor}", ["kworker", "/tmp/escape.memory"])
    os.wait()
    return os.path.exists("/tmp/escape.memory")
attempt(run)
""",
        word="done True",
        told="file.write path=/tmp/escape.memory",
        finding="program-run-from-memory",
    ),
    Attempt(
        name="foreign-interface-int80",
        tries="calls by the 32 bit interface, whose numbers mean other calls: 272 is fadvise64 there, and unshare else",
        code="attempt(lambda: machine_code(bytes.fromhex('b810010000cd80c3')))",
        word=rf"{REFUSED}|SIGSEGV",
        told="kernel.call errno=SIGSYS args=*AUDIT_ARCH_I386*",
        finding="evasive-kernel-call",
        differs={
            "runsc": Differs(
                why="gVisor takes the instruction for an ordinary call by its 64 bit number, and so does the tracer",
                told="kernel.namespace call=unshare errno=E*",
                finding="container-escape-call",
            )
        },
    ),
    Attempt(
        name="foreign-interface-x32",
        tries="calls by the x32 interface, likewise",
        code="attempt(lambda: syscall(0x40000000 | 39))",
        told="kernel.call call=1073741863 errno=SIGSYS",
        finding="evasive-kernel-call",
        differs={"runsc": Differs(why="gVisor's tracer knows the number", told="kernel.call call=getpid errno=SIGSYS")},
    ),
    Attempt(
        name="processes-of-the-machine",
        tries="to see a process of the machine that carries a known mark",
        code="""
def look():
    mark = TARGETS["mark"].encode()
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and mark in open(f"/proc/{name}/cmdline", "rb").read():
                return "found"
        except OSError:
            pass
    raise OSError(errno.ESRCH, "")
attempt(look)
""",
        word="ESRCH",
        told="file.read path=/proc/1/cmdline",
    ),
    Attempt(
        name="allow-any-tracer",
        tries="to let anybody trace it, and to hide from being looked at",
        code="attempt(*each(lambda call: syscall(157, *call), [(0x59616D61, -1, 0, 0, 0), (4, 0, 0, 0, 0)]))",
        word=rf"done 0|{REFUSED}",
        unseen="settings of its own process: the tracer is attached already, and goes on",
    ),
    Attempt(
        name="become-root",
        tries="to take the identity of root",
        code="""
attempt(lambda: os.setuid(0), lambda: os.setresuid(0, 0, 0), lambda: os.setreuid(0, 0), lambda: os.setgroups([0]))
""",
        told="process.credentials call=setresuid errno=E*",
    ),
    Attempt(
        name="programs-that-give-rights",
        tries="to become root by the programs that are there for it",
        code="""
def run(*argv):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode == 0 and b"uid=0" in done.stdout:
        return "root"
    raise OSError(errno.EPERM, "")
attempt(lambda: run("sudo", "-n", "id"), lambda: run("su", "-c", "id", "root"), lambda: run("pkexec", "id"))
""",
        told="process.exec image=*/sudo errno=ENOENT",
    ),
    Attempt(
        name="a-setuid-program-of-its-own",
        tries="to give a program of its own the rights of its owner, and to find others' that have them",
        code="""
def make():
    with open("/tmp/escape.setuid", "wb") as copy:
        copy.write(open("/usr/bin/id", "rb").read())
    os.chmod("/tmp/escape.setuid", 0o6755)
    return subprocess.run(["/tmp/escape.setuid", "-u"], capture_output=True).stdout.decode().strip()
def capable():
    wanted = ("CapEff", "CapBnd", "NoNewPrivs")
    return [line.split()[1] for line in open("/proc/self/status") if line.startswith(wanted)]
attempt(make, capable)
""",
        word=r"done ([1-9][0-9]*|\['0000000000000000', '0000000000000000', '1'\])",
        told="file.mode path=/tmp/escape.setuid mode=06755",
        differs={
            "bubblewrap": Differs(
                why="the bounding set of a user namespace may be full: it holds over nothing of the machine",
                word=r"done ([1-9][0-9]*|\['0000000000000000', '[0-9a-f]{16}', '1'\])",
            ),
            "runsc": Differs(
                why="gVisor does not show whether new privileges can be had",
                word=r"done ([1-9][0-9]*|\['0000000000000000', '0000000000000000'(, '1')?\])",
            ),
        },
    ),
)
