"""Builds the sample packages from their source trees: same tree, same bytes, with the standard library alone.

    python tests/samples/build.py --output DIR [NAME ...]

A tree with a `pyproject.toml` becomes an sdist, any other a wheel. The samples emulate attacks without harm:
outside a fumehood pod their code does nothing.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import hashlib
import io
import sys
import tarfile
import zipfile
from pathlib import Path

SAMPLES = Path(__file__).resolve().parent
VERSION = "1.0"
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip archive can hold."""
_PROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "{0}"
version = "1.0"

[tool.setuptools]
packages = {1}

[tool.setuptools.package-data]
"*" = ["*"]
"""
_SETUP = """\
import runpy
import setuptools

setup, setuptools.setup = setuptools.setup, lambda **_: None
for program in {0}:
    runpy.run_path(program, run_name="__main__")
setup()
"""
"""Runs those of the samples, and sets up once."""


def names() -> tuple[str, ...]:
    """Give the names of all samples, benign twins included, in order."""
    return tuple(sorted(path.name for path in SAMPLES.iterdir() if any(path.glob("sample_*"))))


def distribution(name: str) -> str:
    """Give the name of a sample's distribution, as file names write it."""
    return "sample_" + name.replace("-", "_")


def build(name: str, directory: Path) -> Path:
    """Build one sample.

    Args:
        name: One of `names()`.
        directory: Where the archive is written; it must exist.

    Returns:
        Path of the sdist or wheel.

    Raises:
        ValueError: There is no sample of that name.
    """
    if name not in names():
        raise ValueError(f"there is no sample {name!r}; there are {', '.join(names())}")
    return _write(distribution(name), _files(name), directory)


def together(samples: tuple[str, ...], title: str, directory: Path) -> Path:
    """Build several samples as one package, which does what each of them does.

    Args:
        samples: Their names; all sdists, or all wheels.
        title: Name of the distribution, as file names write it.
        directory: Where the archive is written; it must exist.

    Returns:
        Path of the sdist or wheel.
    """
    files: dict[str, bytes] = {}
    for name in samples:
        own = _files(name)
        own.pop("pyproject.toml", None)
        if "setup.py" in own:
            own[setup_program(name)] = own.pop("setup.py")
        if clash := files.keys() & own.keys():
            raise ValueError(f"{min(clash)} is in {name} and in another sample")
        files |= own
    if programs := [setup_program(name) for name in samples if setup_program(name) in files]:
        files["pyproject.toml"] = _PROJECT.format(title, [distribution(name) for name in samples]).encode()
        files["setup.py"] = _SETUP.format(programs).encode()
    return _write(title, files, directory)


def setup_program(name: str) -> str:
    """What the `setup.py` of a sample is called where several are one package."""
    return f"setup_{distribution(name)}.py"


def _files(name: str) -> dict[str, bytes]:
    """Content of a sample's source tree, by path."""
    tree = SAMPLES / name
    return {
        path.relative_to(tree).as_posix(): path.read_bytes()
        for path in sorted(tree.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def _write(title: str, files: dict[str, bytes], directory: Path) -> Path:
    stem = f"{title}-{VERSION}"
    if "pyproject.toml" in files:
        path, content = directory / f"{stem}.tar.gz", sdist(title, files)
    else:
        path, content = directory / f"{stem}-py3-none-any.whl", wheel(title, files)
    path.write_bytes(content)
    return path


def sdist(title: str, files: dict[str, bytes]) -> bytes:
    """Pack an sdist of version `VERSION`.

    Args:
        title: Name of the distribution, as file names write it.
        files: Content by path in the source tree.

    Returns:
        The archive; same files, same bytes.
    """
    stem = f"{title}-{VERSION}"
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(filename="", fileobj=buffer, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for path, content in sorted({**files, "PKG-INFO": _metadata(title)}.items()):
            member = tarfile.TarInfo(f"{stem}/{path}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def wheel(title: str, files: dict[str, bytes], entry_points: str = "") -> bytes:
    """Pack a pure wheel of version `VERSION`.

    Args:
        title: Name of the distribution, as file names write it.
        files: Content by path below site-packages.
        entry_points: What its `entry_points.txt` says; without it there is none.

    Returns:
        The archive; same files, same bytes.
    """
    info = f"{title}-{VERSION}.dist-info"
    about = b"Wheel-Version: 1.0\nGenerator: fumehood-samples\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    members = {**files, f"{info}/METADATA": _metadata(title), f"{info}/WHEEL": about}
    if entry_points:
        members[f"{info}/entry_points.txt"] = entry_points.encode()
    record = f"{info}/RECORD"
    rows = [f"{path},sha256={_digest(content)},{len(content)}\n" for path, content in members.items()]
    members[record] = "".join([*rows, f"{record},,\n"]).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, content in members.items():
            entry = zipfile.ZipInfo(path, _EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def _metadata(title: str) -> bytes:
    name = title.replace("_", "-")
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {VERSION}\nRequires-Python: >=3.9\n".encode()


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def main() -> None:
    """Build the samples that the command line names, or all of them, and print their paths."""
    parser = argparse.ArgumentParser(description="Build the inert sample packages.")
    parser.add_argument("--output", type=Path, required=True, help="directory for the archives; made when absent")
    parser.add_argument("names", nargs="*", metavar="NAME", help="samples to build; all when none is named")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(names()))
    if unknown:
        parser.error(f"there is no sample {unknown[0]!r}; there are {', '.join(names())}")
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or names():
        sys.stdout.write(f"{build(name, arguments.output)}\n")


if __name__ == "__main__":
    main()
