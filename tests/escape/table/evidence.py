"""Attacks on the evidence: to read, cut or forge it, or to speak in the name of our own programs."""

from __future__ import annotations

from tests.escape.attempt import REFUSED, Attempt

_DATA = "what a package prints is data: it is kept for reading and parsed by nobody"

ATTEMPTS = (
    Attempt(
        name="cut-the-trace",
        tries="to empty the trace, the network record and what the runner says",
        code="""
places = ["/fumehood/traces/import.strace", "/fumehood/control/import.status", "/fumehood/output/import.stdout"]
places += [TARGETS["bundles"] + "/gateway.jsonl"]
attempt(*each(lambda path: os.truncate(path, 0), places), *each(os.unlink, places))
""",
        told="file.write path=/fumehood/traces/import.strace errno=E*",
    ),
    Attempt(
        name="read-the-evidence",
        tries="to read the bait's list, the orders to the pod and its own trace",
        code="""
places = ["/fumehood", "/fumehood/control", "/fumehood/traces", TARGETS["bundles"], "/proc/1/root/fumehood/control"]
attempt(*each(os.listdir, places), lambda: open("/fumehood/control/pod.json").read())
""",
        told="file.read path=/fumehood/control/pod.json errno=E*",
    ),
    Attempt(
        name="orders-to-the-pod",
        tries="to give orders on the control channel: to end a phase, to begin one",
        code="""
places = ["/fumehood/control/import.json", "/fumehood/control/exercise.json"]
def speak():
    if os.path.realpath("/proc/1/fd/0") == "/dev/null":
        raise OSError(errno.ENOTCONN, "nobody gives orders to process 1 of this pod")
    return os.open("/proc/1/fd/0", os.O_WRONLY)
attempt(*each(lambda path: os.open(path, os.O_WRONLY), places), speak)
""",
        told="file.write path=/fumehood/control/import.json errno=E*",
    ),
    Attempt(
        name="forged-coverage",
        tries="to report on the driver's result descriptor that all was reached",
        code="""
forged = b'{"unit": "module", "planned": 1, "reached": 1, "failed": [], "timed_out": [], "unreached": []}'
def write(number):
    try:
        if os.readlink(f"/proc/self/fd/{number}").startswith("socket:"):
            raise OSError(errno.EBADF, "the importer's channel: the next attempt's matter")
    except FileNotFoundError:
        raise OSError(errno.EBADF, "") from None
    os.write(number, forged)
attempt(*each(write, range(3, 40)))
""",
        unseen="writing to a descriptor that is not open is nothing; the driver closes its own before it imports",
    ),
    Attempt(
        name="forged-messages-to-the-driver",
        tries="to tell the driver that other modules were imported, or failed",
        code="""
def speak(number):
    for message in (["done", "escape_tcp_out", False, "forged"], ["start", "escape_udp_out"], ["end", "escape_bpf"]):
        os.write(number, json.dumps(message).encode())
sockets = [int(name) for name in os.listdir("/proc/self/fd")
           if os.path.realpath(f"/proc/self/fd/{name}").startswith(("/proc/", "socket")) and int(name) > 2]
attempt(*each(speak, sockets), lambda: speak(1 << 20))
""",
        word=rf"done None|{REFUSED}",
        unseen="the driver believes the kernel about who speaks: what others say of a module is not heard",
    ),
    Attempt(
        name="printed-lines-of-a-tracer",
        tries="to forge evidence by printing what looks like a trace, a status or the end of a phase",
        code="""
def speak(descriptor):
    os.write(descriptor, b'1  1795347400.000001 execve("/bin/forged", ["forged"], 0x1 /* 0 vars */) = 0\\n'
             b'1  1795347400.000002 +++ exited with 0 +++\\n{"exit": 0, "survivors": 0}\\n{"ended": true}\\n'
             b'{ "exit-code": 0 }\\nready\\nstop\\n')
attempt(*each(speak, [1, 2]))
""",
        word="done None",
        unseen=_DATA,
    ),
    Attempt(
        name="command-of-a-phase",
        tries="to be taken for the driver, by executing what the phase executes",
        code="""
def run():
    driver = ["/usr/bin/python3", "-I", "-S", "/opt/fumehood/importer.py", "--result-fd", "1"]
    return subprocess.run([*driver, "--each", "1", "--budget", "1", "nothing"], capture_output=True).returncode
attempt(run)
""",
        word=r"done \d+",
        told="process.exec image=/usr/bin/python3 actor=target argv=*importer.py*",
    ),
    Attempt(
        name="result-of-another-module",
        tries="to end the import phase early by ending its own process as if all were done",
        code="""
def leave():
    os.kill(os.getppid(), 0)
    os._exit(0)
attempt(leave)
""",
        word="",
        told="process.exit code=0",
    ),
    Attempt(
        name="names-of-our-programs",
        tries="to be taken for the tracer or the gateway by its name",
        code="""
def pose(name):
    libc.prctl(15, name, 0, 0, 0)
    open("/tmp/escape.posed", "w").close()
    return open("/proc/self/comm").read().strip()
attempt(*each(pose, [b"strace", b"bwrap", b"x\\n1 execve("]))
""",
        word=r"(?s)done (strace|bwrap|x.*)",
        told="file.write path=/tmp/escape.posed actor=target",
    ),
    Attempt(
        name="gateway-process",
        tries="to find the gateway's process, its files and its socket",
        code="""
def look():
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and b"sandbox.gateway" in open(f"/proc/{name}/cmdline", "rb").read():
                return "found"
        except OSError:
            pass
    raise OSError(errno.ESRCH, "")
attempt(look, lambda: os.listdir(TARGETS["bundles"]))
""",
        told="file.read path=/proc/1/cmdline",
    ),
)
