"""How long a warm run takes, beside a plain install and import of the same package in the same root filesystem.

    .venv/bin/python -m tests.benchmarks.warm_run [PURL] [--times N]

Prints medians and the ratio. Not a test: nothing is asserted about speed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sandbox import images
from sandbox.intake import read_pip_configuration, resolve
from sandbox.pod.tools import find_tools
from sandbox.settings import Settings

_SCRIPT = """
set -e
python3 -m venv --without-pip /home/env
python="/home/env/bin/python"
start=$(date +%s.%N)
export VIRTUAL_ENV=/home/env
launcher="/usr/bin/python3 -I -S /opt/fumehood/pip_launcher.py"
$launcher install -q --disable-pip-version-check --no-input --no-deps -- "$1"
$python -c "import $2"
end=$(date +%s.%N)
echo "$start $end"
"""


def _plain(rootfs: Path, artefact: Path, module: str) -> float:
    command = [
        find_tools().bwrap,
        *("--unshare-all", "--ro-bind", str(rootfs), "/", "--dev", "/dev", "--proc", "/proc"),
        *("--tmpfs", "/tmp", "--tmpfs", "/home", "--ro-bind", str(artefact.parent), "/opt/artefact"),
        *("--setenv", "HOME", "/home", "sh", "-c", _SCRIPT, "sh", f"/opt/artefact/{artefact.name}", module),
    ]
    start, end = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-2:]
    return float(end) - float(start)


def _fumehood(purl: str) -> float:
    with tempfile.TemporaryDirectory() as bundles:
        start = time.monotonic()
        subprocess.run(
            [str(Path(sys.executable).with_name("fumehood")), "run", "--quiet", "--fail-on=never", purl],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "FUMEHOOD_BUNDLES": bundles},
        )
        return time.monotonic() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("purl", nargs="?", default="pkg:pypi/six@1.17.0", help="one without dependencies")
    parser.add_argument("--times", type=int, default=7)
    arguments = parser.parse_args()
    cache = Settings.from_environment(os.environ).cache
    with tempfile.TemporaryDirectory() as copies:
        _measure(arguments.purl, arguments.times, cache, Path(copies))


def _measure(purl: str, times: int, cache: Path, copies: Path) -> None:
    image = images.ensure("debian12-python", cache, print)
    artefact = resolve(
        purl, configuration=read_pip_configuration(), cache=cache, copies=copies, python=image.image.python
    )
    module = artefact.name.replace("-", "_")
    _fumehood(purl)
    plain, ours = [], []
    for _ in range(times):
        plain.append(_plain(image.rootfs, artefact.path, module))
        ours.append(_fumehood(purl))
    ratio = statistics.median(ours) / statistics.median(plain)
    print(
        f"plain pip install + import  median {statistics.median(plain):.2f} s  ({min(plain):.2f} to {max(plain):.2f})"
    )
    print(f"fumehood run, all phases    median {statistics.median(ours):.2f} s  ({min(ours):.2f} to {max(ours):.2f})")
    print(f"ratio {ratio:.1f}, {times} times each, {artefact.filename}")


if __name__ == "__main__":
    main()
