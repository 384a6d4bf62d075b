"""Small pods for the drivers' tests: the real root filesystem under bubblewrap, and wheels made with zipfile."""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import os
import struct
import subprocess
import tempfile
import zipfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

HOME = "/home/dev"
PYTHON = f"{HOME}/.venv/bin/python"
INTERPRETER = "/usr/bin/python3"
LOG = 'import os\nwith open(os.environ["HOME"] + "/log", "a") as log:\n    log.write(f"{__name__} {os.getpid()}\\n")\n'
"""Source of a module that notes its import and its process."""


def make_wheel(
    directory: Path,
    name: str,
    files: Mapping[str, str],
    scripts: Mapping[str, str] | None = None,
    requires: Sequence[str] = (),
) -> Path:
    """Write a wheel with these files (path to source), console scripts (name to `module:function`) and requirements."""
    required = "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    info = f"{name}-1.0.dist-info"
    content = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{required}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if scripts:
        lines = "".join(f"{script} = {target}\n" for script, target in scripts.items())
        content[f"{info}/entry_points.txt"] = f"[console_scripts]\n{lines}"
    record = ""
    path = directory / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in content.items():
            data = text.encode()
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record += f"{member},sha256={digest},{len(data)}\n"
            archive.writestr(member, data)
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return path


class SmallPod:
    """A home directory with an empty virtual environment, and a way to run commands beside it."""

    def __init__(self, rootfs: Path, directory: Path, refused: tuple[int, ...] = ()) -> None:
        """Make the home; the kernel will not know the system calls `refused` (x86-64)."""
        self.rootfs = rootfs
        self.refused = refused
        self.home = directory / "home"
        self.wheels = directory / "wheels"
        self.wheels.mkdir()
        venv = self.home / ".venv"
        (venv / "bin").mkdir(parents=True)
        self.site_packages = venv / "lib/python3.11/site-packages"
        self.site_packages.mkdir(parents=True)
        (venv / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11.2\n")
        (venv / "bin/python").symlink_to("/usr/bin/python3")

    def run(self, *argv: str, check: bool = True, pass_fds: tuple[int, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run a command as an unprivileged user without any network."""
        command = [
            *("bwrap", "--unshare-all", "--die-with-parent", "--uid", "1000", "--gid", "1000"),
            *("--ro-bind", str(self.rootfs), "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"),
            *("--tmpfs", "/home", "--bind", str(self.home), HOME, "--ro-bind", str(self.wheels), "/opt/artefact"),
            *("--clearenv", "--setenv", "HOME", HOME, "--setenv", "PATH", f"{HOME}/.venv/bin:/usr/bin:/bin"),
            *("--setenv", "VIRTUAL_ENV", f"{HOME}/.venv", "--setenv", "LANG", "C.UTF-8", "--chdir", HOME),
        ]
        with tempfile.TemporaryFile() as calls:
            calls.write(_unknown_calls(self.refused))
            calls.seek(0)
            done = subprocess.run(
                [*command, "--seccomp", str(calls.fileno()), "--", *argv],
                capture_output=True,
                text=True,
                check=False,
                pass_fds=(*pass_fds, calls.fileno()),
                timeout=120,
            )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def pip(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the image's pip by its launcher; packages come from the wheels only."""
        return self.run(INTERPRETER, "-I", "-S", "/opt/fumehood/pip_launcher.py", *arguments, check=check)

    def install(self, *arguments: str) -> None:
        """Install by pip from the wheels."""
        self.pip("install", "--quiet", "--no-index", "--find-links", "/opt/artefact", *arguments)

    def drive(self, driver: str, distribution: str, *, each: float = 20, budget: float = 60) -> dict[str, Any]:
        """Run the importer or the exerciser and return its report; the log of the modules stands in the home."""
        reader, writer = os.pipe()
        self.result_pipe = os.fstat(reader).st_ino
        limits = ("--each", str(each), "--budget", str(budget))
        try:
            argv = (
                INTERPRETER,
                "-I",
                "-S",
                f"/opt/fumehood/{driver}",
                "--result-fd",
                str(writer),
                *limits,
                distribution,
            )
            self.run(*argv, pass_fds=(writer,))
        finally:
            os.close(writer)
        with os.fdopen(reader, "rb") as stream:
            return dict(json.loads(stream.read()))

    def log(self) -> list[tuple[str, int]]:
        """Which modules were executed, and by which process."""
        lines = (self.home / "log").read_text().splitlines()
        return [(name, int(pid)) for name, pid in (line.split() for line in lines)]


def _unknown_calls(numbers: tuple[int, ...]) -> bytes:
    """A filter (classic BPF) under which the kernel answers these system calls as if it had never heard of them."""
    load, equal, answer, allow = 0x20, 0x15, 0x06, 0x7FFF0000
    checks = [struct.pack("=HBBI", equal, len(numbers) - at, 0, number) for at, number in enumerate(numbers)]
    ends = [struct.pack("=HBBI", answer, 0, 0, said) for said in (allow, 0x00050000 | errno.ENOSYS)]
    return b"".join((struct.pack("=HBBI", load, 0, 0, 0), *checks, *ends))
