"""Packages with nothing in them, one for each build backend: what their runs do, every run does."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

NAME: Final = "fumehood-empty"
VERSION: Final = "1.0"
WHEEL: Final = "wheel"
"""The one that is not built."""
_WRITTEN: Final = 1_577_836_800
"""When the files are said to be from, in seconds since the epoch: zip archives know no time before 1980."""
_MODULE: Final = "fumehood_empty"
_METADATA: Final = f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n"
_PROJECT: Final = f'[project]\nname = "{NAME}"\nversion = "{VERSION}"\n'
_POETRY: Final = f"""[tool.poetry]
name = "{NAME}"
version = "{VERSION}"
description = ""
authors = ["Nobody <nobody@site.example>"]
packages = [{{include = "{_MODULE}"}}]
"""
_BACKENDS: Final = {
    "setuptools": ("setuptools", "setuptools.build_meta", f'{_PROJECT}[tool.setuptools]\npackages = ["{_MODULE}"]\n'),
    "hatchling": ("hatchling", "hatchling.build", _PROJECT),
    "flit-core": ("flit_core", "flit_core.buildapi", f'{_PROJECT}description = "Empty"\n'),
    "poetry-core": ("poetry-core", "poetry.core.masonry.api", _POETRY),
    "meson-python": ("meson-python", "mesonpy", _PROJECT),
    "scikit-build-core": ("scikit-build-core", "scikit_build_core.build", _PROJECT),
    "maturin": ("maturin", "maturin", f'{_PROJECT}requires-python = ">=3.9"\n'),
}
_FILES: Final = {
    "meson-python": {
        "meson.build": f"project('{NAME}', version: '{VERSION}')\n"
        "python = import('python').find_installation(pure: true)\n"
        f"python.install_sources('{_MODULE}/__init__.py', subdir: '{_MODULE}')\n"
    },
    "scikit-build-core": {
        "CMakeLists.txt": f"cmake_minimum_required(VERSION 3.15)\nproject({_MODULE} LANGUAGES NONE)\n"
    },
    "maturin": {
        "Cargo.toml": f'[package]\nname = "{NAME}"\nversion = "{VERSION}"\nedition = "2021"\n'
        f'[lib]\nname = "{_MODULE}"\ncrate-type = ["cdylib"]\n',
        "src/lib.rs": "",
    },
}

NAMES: Final = (WHEEL, *_BACKENDS)


def make(name: str, directory: Path) -> Path:
    """Write an empty package.

    Args:
        name: One of `NAMES`.
        directory: Where it goes.

    Returns:
        Path of the archive.
    """
    return _wheel(directory) if name == WHEEL else _sdist(name, directory)


def _sdist(name: str, directory: Path) -> Path:
    requirement, backend, project = _BACKENDS[name]
    files = {
        "PKG-INFO": _METADATA,
        "pyproject.toml": f'[build-system]\nrequires = ["{requirement}"]\nbuild-backend = "{backend}"\n{project}',
        f"{_MODULE}/__init__.py": "",
        **_FILES.get(name, {}),
    }
    path = directory / f"{_MODULE}-{VERSION}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for member, text in files.items():
            info = tarfile.TarInfo(f"{_MODULE}-{VERSION}/{member}")
            info.size = len(text)
            info.mtime = _WRITTEN
            archive.addfile(info, io.BytesIO(text.encode()))
    return path


def _wheel(directory: Path) -> Path:
    info = f"{_MODULE}-{VERSION}.dist-info"
    files = {
        f"{_MODULE}/__init__.py": "",
        f"{info}/METADATA": _METADATA,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: fumehood\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [f"{name},sha256={_digest(text)},{len(text)}\n" for name, text in files.items()]
    path = directory / f"{_MODULE}-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in {**files, f"{info}/RECORD": "".join([*rows, f"{info}/RECORD,,\n"])}.items():
            archive.writestr(member, text)
    return path


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
