"""The images of the Docker pod: imported from the embedded pod's tree, labelled with what they were made from.

Nothing is fetched from anywhere. An image whose label matches is used again; others with our label are left to
`fumehood pods prune`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import os
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import docker.errors
import msgspec

import sandbox
from sandbox import pod
from sandbox.errors import PodError
from sandbox.pod import dropped, places
from sandbox.pod.docker.engine import explained
from sandbox.resources import images_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker import DockerClient

RECIPE_LABEL = "fumehood.recipe"
_BASE, _TRACEE, _GATEWAY = "fumehood/base", "fumehood/tracee", "fumehood/gateway"
TRACER = "/fumehood/tracer"
"""Where the tracee image has strace and its libraries. The directory above is root's alone."""
_MERGED = ("bin", "lib", "lib32", "lib64", "sbin")
_MOUNT_POINTS = ("dev", "etc", "proc", "run", "sys", "tmp", "usr")


class Images(msgspec.Struct, frozen=True):
    """Ids of images that are ready."""

    gateway: str
    tracee: str


def ensure(client: DockerClient, rootfs: Path, strace: str) -> Images:
    """Return the images, made first where they are missing.

    Args:
        client: The engine.
        rootfs: The embedded pod's base root filesystem, in its image's folder.
        strace: Path of this machine's strace, which is used in both pods.

    Raises:
        PodError: An image cannot be made.
    """
    tracee = dict(_tracee_files(Path(strace)))
    gateway = dict(_gateway_files())
    with _alone(rootfs.parent):
        base = _base(client, rootfs)
        return Images(
            gateway=_built(client, _GATEWAY, "docker-gateway", gateway, {}),
            tracee=_built(client, _TRACEE, "docker-tracee", tracee, {"BASE": base}),
        )


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Among the workers with the same base tree: who comes second finds the images of the first."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _find(client: DockerClient, repository: str, digest: str) -> str:
    label = f"{RECIPE_LABEL}={digest}"
    with explained("look for the pod's images"):
        found = client.images.list(name=repository, filters={"label": label})
    return str(found[0].id) if found else ""


def _base(client: DockerClient, rootfs: Path) -> str:
    """Import the tree as it is, every file root's. Its folder's name has the digest of its recipe."""
    digest = rootfs.parent.name.rpartition("-")[2]
    if found := _find(client, _BASE, digest):
        return found
    command = ["tar", f"--directory={rootfs}", "--owner=0", "--group=0", "--numeric-owner", "--create", "."]
    with (
        explained("import the base image"),
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as tar,
    ):
        if tar.stdout is None:
            raise PodError("cannot import the base image: tar has no output")
        changes = [f"LABEL {RECIPE_LABEL}={digest}"]
        said = client.api.import_image_from_stream(tar.stdout, repository=_BASE, tag=digest, changes=changes)
        # The engine's answer has begun, as a success, before it has written anything.
        for line in said.splitlines():
            if failed := msgspec.json.decode(line, type=_Progress).error:
                raise docker.errors.DockerException(failed)
    if tar.returncode:
        client.images.remove(f"{_BASE}:{digest}")
        raise PodError(f"cannot import the base image: {rootfs} cannot be read; remove its folder and try again")
    return _made(client, _BASE, digest)


def _made(client: DockerClient, repository: str, digest: str) -> str:
    """The id of what has just been made; somebody may prune at this very moment."""
    if found := _find(client, repository, digest):
        return found
    raise PodError(f"the image {repository}:{digest} has been removed meanwhile: run again, it is then built")


class _Progress(msgspec.Struct, frozen=True):
    """A line of what the engine tells while it works."""

    error: str = ""


class _Entry(msgspec.Struct, frozen=True):
    """One member of a build context."""

    content: bytes = b""
    link: str = ""
    mode: int = 0o644
    directory: bool = False


def _tracee_files(strace: Path) -> Iterator[tuple[str, _Entry]]:
    folder = images_directory() / "docker-tracee"
    yield "tree", _Entry(mode=0o755, directory=True)
    yield "tree/fumehood", _Entry(mode=0o700, directory=True)
    for name in ("control", "traces", "output"):
        yield f"tree/fumehood/{name}", _Entry(mode=0o700, directory=True)
    for path in sorted(folder.glob("*.py")):
        yield f"tree/fumehood/{path.name}", _Entry(path.read_bytes())
    for name in ("sandbox", "sandbox/pod"):
        yield f"tree/fumehood/{name}", _Entry(mode=0o755, directory=True)
    # What both pods run, where both import it from.
    for module in (sandbox, pod, dropped, places):
        path = Path(module.__file__ or "")
        yield f"tree/fumehood/{path.relative_to(Path(sandbox.__file__ or '').parents[1])}", _Entry(path.read_bytes())
    yield f"tree{TRACER}/strace", _Entry(strace.read_bytes(), mode=0o755)
    for library in _libraries(strace):
        name = "ld.so" if library.name.startswith("ld-") else library.name
        yield f"tree{TRACER}/lib/{name}", _Entry(library.read_bytes(), mode=0o755)


def _libraries(program: Path) -> list[Path]:
    """The shared libraries of a program of this machine, its loader among them."""
    listed = subprocess.run(["ldd", str(program)], check=False, capture_output=True, text=True).stdout
    found = [word for line in listed.splitlines() for word in line.split() if word.startswith("/")]
    if not any(Path(name).name.startswith("ld-") for name in found):
        raise PodError(f"cannot make the tracee's image: `ldd {program}` does not name the loader")
    return [Path(name) for name in found]


def _gateway_files() -> Iterator[tuple[str, _Entry]]:
    for name in _MOUNT_POINTS:
        yield f"skeleton/{name}", _Entry(mode=0o755, directory=True)
    for name in _MERGED:
        host = Path("/", name)
        if host.is_symlink():
            yield f"skeleton/{name}", _Entry(link=str(host.readlink()))


def _built(client: DockerClient, repository: str, folder: str, files: dict[str, _Entry], args: dict[str, str]) -> str:
    files = {**files, "Dockerfile": _Entry((images_directory() / folder / "Dockerfile").read_bytes())}
    digest = hashlib.sha256(msgspec.json.encode([files, args])).hexdigest()[:16]
    if found := _find(client, repository, digest):
        return found
    with explained(f"build the image {repository}"):
        client.images.build(
            fileobj=io.BytesIO(_context(files)),
            custom_context=True,
            tag=f"{repository}:{digest}",
            buildargs=args,
            labels={RECIPE_LABEL: digest},
            rm=True,
            forcerm=True,
        )
    return _made(client, repository, digest)


def _context(files: dict[str, _Entry]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, entry in files.items():
            member = tarfile.TarInfo(name)
            member.mode = entry.mode
            if entry.directory:
                member.type = tarfile.DIRTYPE
            elif entry.link:
                member.type, member.linkname = tarfile.SYMTYPE, entry.link
            member.size = len(entry.content)
            archive.addfile(member, io.BytesIO(entry.content))
    return buffer.getvalue()
