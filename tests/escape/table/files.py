"""Files of the machine, traps in the file system, and things that use it up."""

from __future__ import annotations

from tests.escape.attempt import REFUSED, Attempt, Differs

ATTEMPTS = (
    Attempt(
        name="file-of-the-machine",
        tries="to read and write a file of the machine by its path",
        code="""
attempt(lambda: open(TARGETS["canary"]).read(), lambda: open(TARGETS["canary"], "a"),
        lambda: open(TARGETS["nest"] + "/laid", "w"))
""",
        told="file.read path=*/canary errno=E*",
    ),
    Attempt(
        name="root-of-process-1",
        tries="to read and write files of the machine through the root of processes that may see more",
        code="""
roots = [f"/proc/{pid}/{name}" for pid in (1, watcher(), os.getppid()) for name in ("root", "cwd")]
attempt(*each(lambda root: open(root + TARGETS["canary"]).read(), roots),
        *each(lambda root: open(root + TARGETS["nest"] + "/laid", "w"), roots))
""",
        told="file.read path=*/canary errno=E*",
    ),
    Attempt(
        name="dots-to-the-machine",
        tries="to walk out of the root by dots and links",
        code="""
dots = "/.." * 40
os.symlink("/proc/1/root", "/tmp/escape.link")
attempt(*each(lambda path: open(path).read(),
              [dots + TARGETS["canary"], "/proc/self/root" + dots + TARGETS["canary"],
               "/dev/fd/../../.." + TARGETS["canary"], "/tmp/escape.link" + TARGETS["canary"]]))
""",
        told="file.read path=*/canary errno=E*",
    ),
    Attempt(
        name="open-descriptors",
        tries="to find a descriptor that was left open: a directory outside, a file of ours",
        code="""
def look():
    found = []
    for number in range(3, 4096):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue
        if target.startswith("/") and not target.startswith(("/home/", "/tmp/", "/proc/")):
            found.append(target)
        try:
            os.stat("../" * 20 + TARGETS["canary"].lstrip("/"), dir_fd=number)
            found.append("canary by " + target)
        except OSError:
            pass
    return found
attempt(look)
""",
        word=r"done \[\]",
        unseen="looking at one's own descriptors is what every program does",
    ),
    Attempt(
        name="system-programs",
        tries="to change programs, libraries and settings that others will use",
        code="""
paths = ["/usr/bin/python3.11", "/etc/passwd", "/etc/ld.so.preload", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt"]
paths += ["/opt/fumehood/importer.py", "/usr/lib/python3.11/sitecustomize.py", "/etc/pip.conf", "/usr/bin/strace"]
attempt(*each(lambda path: os.open(path, os.O_WRONLY | os.O_CREAT), paths), lambda: os.rename("/usr/bin", "/usr/nib"))
""",
        told="file.write path=/etc/ld.so.preload errno=E*",
    ),
    Attempt(
        name="artefact",
        tries="to change the artefact that is the evidence",
        code="""
name = os.listdir("/opt/artefact")[0]
attempt(lambda: os.open("/opt/artefact/" + name, os.O_WRONLY), lambda: os.unlink("/opt/artefact/" + name),
        lambda: os.truncate("/opt/artefact/" + name, 0), lambda: os.chmod("/opt/artefact/" + name, 0o777))
""",
        told="file.write path=/opt/artefact/* errno=E*",
    ),
    Attempt(
        name="files-among-devices",
        tries="to put files where nothing bounds or lists them: among the devices and beside the writable places",
        code="""
paths = ["/dev/escape", "/dev/pts/escape", "/proc/escape", "/sys/escape", "/mnt/escape", "/opt/escape", "/escape"]
attempt(*each(lambda path: open(path, "w"), paths))
""",
        told="file.write path=/dev/escape errno=E*",
    ),
    Attempt(
        name="hard-links-to-system-files",
        tries="to give a file of the system or of another user a name of its own",
        code="""
paths = ["/etc/passwd", "/usr/bin/id", "/proc/1/exe"]
attempt(*each(lambda path: os.link(path, "/tmp/escape.hard." + path.rpartition("/")[2]), paths))
""",
        told="file.link target=/etc/passwd errno=E*",
    ),
    Attempt(
        name="links-where-we-copy-from",
        tries="to have us follow a link of its own when evidence is collected",
        code="""
places = ["/fumehood/traces/exercise.strace", "/fumehood/output/exercise.stdout", "/fumehood/control/exercise.result"]
places += [TARGETS["bundles"] + "/exercise.strace", "/opt/fumehood/exercise.strace"]
attempt(*each(lambda path: os.symlink(TARGETS["canary"], path), places))
""",
        told="file.link path=/fumehood/traces/exercise.strace errno=E*",
    ),
    Attempt(
        name="long-names",
        tries="names as long as there can be, to break who reads the evidence",
        code="""
def long():
    os.makedirs("/tmp/" + "/".join(["d" * 250] * 15))
    open("/tmp/" + "/".join(["d" * 250] * 15) + "/" + "n" * 250, "w").close()
    return "made"
attempt(long, lambda: open("/tmp/" + "x" * 256, "w"), lambda: open("/tmp/" + "y/" * 5000, "w"))
""",
        word=rf"done made|{REFUSED}",
        told="file.write path=/tmp/dddd*",
    ),
    Attempt(
        name="names-that-look-like-evidence",
        tries="to forge lines of the trace by names with line ends, quotes and escapes",
        code="""
line = '\\n4242  1795347400.000001 execve("/bin/forged", ["forged"], 0x7ffe /* 1 var */) = 0\\n'
names = [line.replace("/", chr(0x2215)), '", O_RDONLY) = 3\\x1b[2J', "\\r\\n+++ exited with 0 +++\\n", "a) = 0"]
attempt(*each(lambda name: open("/tmp/escape." + name, "w").close(), names),
        lambda: os.execv("/tmp/no" + line, [line]), lambda: open(line))
""",
        word=rf"done None|{REFUSED}",
        told="process.exec image=/tmp/no* errno=ENOENT",
    ),
    Attempt(
        name="pipe-instead-of-a-file",
        tries="to have somebody who opens a file of its own wait for ever",
        code="""
attempt(lambda: os.mkfifo("/tmp/escape.fifo"), lambda: os.open("/tmp/escape.fifo", os.O_WRONLY | os.O_NONBLOCK))
""",
        word="done None|ENXIO",
        told="file.write path=/tmp/escape.fifo errno=ENXIO",
    ),
    Attempt(
        name="deep-directories",
        tries="directories so deep that removing them fails",
        code="""
def dig():
    os.mkdir("/tmp/escape.deep")
    os.chdir("/tmp/escape.deep")
    for _ in range(38):
        os.mkdir("e" * 100)
        os.chdir("e" * 100)
    open("ground", "w").close()
    return "dug"
attempt(dig)
""",
        word=rf"done dug|{REFUSED}",
        told="file.write path=/tmp/escape.deep/*",
    ),
    Attempt(
        name="huge-sparse-file",
        tries="a file larger than the machine's disk",
        code="""
open("/tmp/escape.sparse", "w").close()
attempt(lambda: os.truncate("/tmp/escape.sparse", 1 << 50), lambda: os.posix_fallocate(
    os.open("/tmp/escape.sparse", os.O_WRONLY), 0, 1 << 50))
""",
        told="file.write path=/tmp/escape.sparse errno=E*",
    ),
    Attempt(
        name="open-everything",
        tries="more open files than the machine has room for",
        code="""
def flood():
    while True:
        os.dup(1)
attempt(flood)
""",
        word="EMFILE",
        unseen="copies of a descriptor are not recorded; the limit is one of the process",
    ),
    Attempt(
        name="huge-command-line",
        tries="an argument list that floods the evidence",
        code="""
def run():
    return subprocess.run(["/bin/true", *["a" * 100000] * 10]).returncode
attempt(run, lambda: os.execv("/bin/true", ["true", "b" * (1 << 20)]))
""",
        word="done 0|E2BIG|ENAMETOOLONG",
        told="process.exec image=/bin/true errno=E*",
    ),
    Attempt(
        name="shared-memory",
        tries="to leave something for others of the machine in shared memory and message queues",
        code="""
def leave():
    open("/dev/shm/fumehood-escape", "w").close()
def segment():
    return syscall(29, TARGETS["key"], 4096, 0o1666) >= 0
def queue():
    return syscall(240, b"fumehood-escape", 0o102, 0o666, 0) >= 0
attempt(leave, segment, queue)
""",
        word=rf"done (None|True)|{REFUSED}",
        told="file.write path=/dev/shm/fumehood-escape",
        differs={"runsc": Differs(why="gVisor's shared memory is gVisor's own")},
    ),
)
