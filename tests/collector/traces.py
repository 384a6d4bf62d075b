"""Writes traces as strace does, call by call, and gateway records that fit to them."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from collector.manifest import Phase
from tests.collector.bundles import HOME, PYTHON, START, trace_name

if TYPE_CHECKING:
    from collections.abc import Sequence

LAUNCHER = "/opt/fumehood/pip_launcher.py"
PIP = (PYTHON, "-I", "-S", LAUNCHER, "install")
COMMANDS = {
    "dependencies": (*PIP, "--", "six"),
    "install": (*PIP, "--no-deps", "--", "/opt/artefact/thing-1.0.tar.gz"),
    "startup": (PYTHON, "-c", "pass"),
    "import": (PYTHON, "-I", "-S", "/opt/fumehood/importer.py", "--result-fd", "3", "thing"),
    "exercise": (PYTHON, "-I", "-S", "/opt/fumehood/exerciser.py", "--result-fd", "3", "thing"),
    "linger": (),
}
BUILD_REQUIREMENT = (
    *PIP,
    "--ignore-installed",
    "--no-user",
    "--prefix",
    "/tmp/pip-build-env-ab12_xyz/overlay",
    "--no-warn-script-location",
    "--",
    "setuptools",
)
HOOK = (PYTHON, "/usr/lib/python3/dist-packages/pip/_vendor/pyproject_hooks/_in_process/_in_process.py", "build_wheel")


def begins(phase: str) -> float:
    """When a phase starts, in seconds since the epoch."""
    return START + 10.0 * list(COMMANDS).index(phase)


def real_phases() -> tuple[Phase, ...]:
    """Six completed phases of ten seconds with the commands of a real run."""
    return tuple(
        Phase(
            name=name,
            status="completed",
            exit_code=0 if argv else None,
            started=begins(name),
            ended=begins(name) + 9.5,
            argv=argv,
            trace=trace_name(name) if argv else "",
        )
        for name, argv in COMMANDS.items()
    )


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


@dataclass
class Strace:
    """One phase's trace; times go on by a millisecond a line, pids by one a fork."""

    phase: str
    now: float = 0.0
    lines: list[str] = field(default_factory=list)
    root: int = 0
    next_pid: int = 0
    sockets: int = 0

    def __post_init__(self) -> None:
        self.now = begins(self.phase) + 0.1
        first = 100 * (list(COMMANDS).index(self.phase) + 1)
        self.next_pid = first + 3
        self.root = first + 2
        argv = COMMANDS[self.phase]
        self.call(first, 'execve("/usr/bin/bwrap", ["bwrap", "--unshare-pid"], 0x7f0 /* 9 vars */)', "0")
        self.call(first, "clone(child_stack=NULL, flags=CLONE_NEWNS|CLONE_NEWPID|SIGCHLD)", str(first + 1))
        inner = f"2 /* {self.root} in strace's PID NS */"
        self.call(first + 1, "clone(child_stack=NULL, flags=CLONE_CHILD_SETTID|SIGCHLD)", inner)
        self.call(self.root, f"chdir({quoted(HOME)})", "0")
        if argv:
            self.exec(self.root, argv[0], argv)

    def call(self, pid: int, text: str, result: str) -> None:
        self.lines.append(f"{pid:<5} {self.now:.6f} {text} = {result}")
        self.now = round(self.now + 0.001, 6)

    def exec(self, pid: int, image: str, argv: Sequence[str], error: str = "") -> None:
        arguments = ", ".join(quoted(argument) for argument in argv)
        self.call(pid, f"execve({quoted(image)}, [{arguments}], 0x7f0 /* 9 vars */)", error or "0")

    def fork(self, pid: int) -> int:
        child = self.next_pid
        self.next_pid += 1
        self.call(
            pid, "clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD)", self._inner(child)
        )
        return child

    def run(self, pid: int, image: str, *argv: str, cwd: str = "") -> int:
        """Fork, change the directory, execute."""
        child = self.fork(pid)
        if cwd:
            self.call(child, f"chdir({quoted(cwd)})", "0")
        self.exec(child, image, argv or (image,))
        return child

    def read(self, pid: int, path: str) -> None:
        self.call(pid, f"openat(AT_FDCWD</>, {quoted(path)}, O_RDONLY|O_CLOEXEC)", f"9<{path}>")

    def missing(self, pid: int, path: str) -> None:
        self.call(pid, f"openat(AT_FDCWD</>, {quoted(path)}, O_RDONLY)", "-1 ENOENT (No such file or directory)")

    def write(self, pid: int, path: str) -> None:
        self.call(pid, f"openat(AT_FDCWD</>, {quoted(path)}, O_WRONLY|O_CREAT|O_TRUNC, 0666)", f"9<{path}>")

    def rename(self, pid: int, old: str, new: str) -> None:
        self.call(pid, f"rename({quoted(old)}, {quoted(new)})", "0")

    def symlink(self, pid: int, target: str, path: str) -> None:
        self.call(pid, f"symlink({quoted(target)}, {quoted(path)})", "0")

    def connect(self, pid: int, ip: str, port: int, protocol: str = "TCP", result: str = "0") -> float:
        """Dial and give the time of the call."""
        at = self.now
        self.sockets += 1
        where = f'{{sa_family=AF_INET, sin_port=htons({port}), sin_addr=inet_addr("{ip}")}}'
        self.call(pid, f"connect(4<{protocol}:[{9000 + self.sockets}]>, {where}, 16)", result)
        return at

    def ask(self, pid: int, name: str) -> float:
        """Send a DNS question and give the time of the call."""
        at = self.now
        wire = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
        message = b"\x12\x34\x01\x00\x00\x01" + bytes(6) + wire + b"\0\x01\0\x01"
        text = "".join(f"\\{byte:03o}" for byte in message)
        to = '{sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("192.0.2.53")}'
        size = len(message)
        self.call(pid, f'sendto(5<UDP:[{8000}]>, "{text}", {size}, MSG_NOSIGNAL, {to}, 16)', str(size))
        return at

    def exit(self, pid: int, code: int = 0) -> None:
        self.lines.append(f"{pid:<5} {self.now:.6f} +++ exited with {code} +++")
        self.now = round(self.now + 0.001, 6)

    def text(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)

    def _inner(self, child: int) -> str:
        return f"{child - self.root + 2} /* {child} in strace's PID NS */"


def basic(user: str, password: str) -> tuple[str, str]:
    """A header that carries a password as browsers do."""
    return ("Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())
