"""The image's pip inside a virtual environment, with packages that would like to run in its process."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.images.pods import HOME, PYTHON, make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.images.pods import SmallPod

pytestmark = pytest.mark.pod

HOOK = 'import os, sys; open(os.environ["HOME"] + "/hook", "a").write(" ".join(sys.orig_argv) + "\\n")\n'
BACKEND = """
import base64, hashlib, os, zipfile
import helper

def build_wheel(directory, config_settings=None, metadata_directory=None):
    name = "built-1.0-py3-none-any.whl"
    files = {
        "built.py": f"made_with = {helper.__name__!r}\\n",
        "built-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: built\\nVersion: 1.0\\n",
        "built-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    with zipfile.ZipFile(os.path.join(directory, name), "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr("built-1.0.dist-info/RECORD", "".join(f"{path},,\\n" for path in files))
    return name
"""


def make_sdist(directory: Path) -> None:
    files = {
        "pyproject.toml": '[build-system]\nrequires = ["helper"]\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": BACKEND,
        "PKG-INFO": "Metadata-Version: 2.1\nName: built\nVersion: 1.0\n",
    }
    with tarfile.open(directory / "built-1.0.tar.gz", "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"built-1.0/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))


def test_it_installs_into_the_environment(small_pod: SmallPod) -> None:
    make_wheel(small_pod.wheels, "sample", {"sample.py": "def main():\n    print('hello')\n"}, {"hello": "sample:main"})
    small_pod.install("sample")
    assert (small_pod.home / ".venv/bin/hello").read_text().startswith(f"#!{PYTHON}\n")
    assert small_pod.run(f"{HOME}/.venv/bin/hello").stdout == "hello\n"
    assert small_pod.pip("list", "--format=freeze").stdout.split() == ["sample==1.0"]
    assert "already satisfied" in small_pod.pip("install", "--no-index", "sample").stdout


def test_its_own_process_runs_no_package_code(small_pod: SmallPod) -> None:
    names = ("brotli", "wheel", "keyring", "chardet", "pip", "sitecustomize", "usercustomize")
    files = {f"{name}.py": HOOK for name in names}
    make_wheel(small_pod.wheels, "hooked", {"hooked.pth": HOOK, **files})
    make_wheel(small_pod.wheels, "other", {"other.py": ""})
    small_pod.install("hooked")
    small_pod.install("other")
    small_pod.pip("uninstall", "--yes", "other")
    assert not (small_pod.home / "hook").exists()
    small_pod.run(PYTHON, "-c", "pass")
    assert (small_pod.home / "hook").exists(), "the hook works in an ordinary interpreter"


def test_an_sdist_is_built_and_the_installing_children_are_clean_too(small_pod: SmallPod) -> None:
    make_wheel(small_pod.wheels, "hooked", {"hooked.pth": HOOK})
    make_wheel(small_pod.wheels, "helper", {"helper.py": ""})
    make_sdist(small_pod.wheels)
    small_pod.install("hooked")
    small_pod.install("/opt/artefact/built-1.0.tar.gz")
    assert "helper" in (small_pod.site_packages / "built.py").read_text()
    assert not (small_pod.site_packages / "helper.py").exists(), "build requirements stay out of the environment"
    started = (small_pod.home / "hook").read_text().splitlines()
    assert started, "the build backend is an ordinary interpreter"
    assert all("_in_process.py" in line for line in started)


def test_outside_a_virtual_environment_it_refuses(small_pod: SmallPod) -> None:
    (small_pod.home / ".venv/pyvenv.cfg").unlink()
    done = small_pod.pip("list", check=False)
    assert done.returncode == 1
    assert f"{HOME}/.venv is not a virtual environment" in done.stderr


def test_a_changed_environment_does_not_change_what_pip_runs(small_pod: SmallPod) -> None:
    """A wheel's data files land in the environment's root: they must not choose pip's standard library."""
    evil = small_pod.home / "evil/lib/python3.11"
    evil.mkdir(parents=True)
    for name in ("os.py", "encodings.py"):
        (evil / name).write_text('raise SystemExit("ran")\n')
    (small_pod.home / ".venv/pyvenv.cfg").write_text(f"home = {HOME}/evil/bin\n")
    assert small_pod.pip("list", "--format=freeze").stdout == ""
