"""Records the golden bundles again, and their expected reports.

    python -m tests.golden.record [NAME ...]

It runs the packages in this machine's embedded pod. Needed only when the bundle itself changes: when reports change on
purpose, `python -m tests.golden.bless` writes the expected ones anew from the bundles that are there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from collector.bundle import MANIFEST, Bundle
from tests.golden.bless import BUNDLES, bless
from tests.golden.packages import NAMES, make

REGISTRY = ("files.example", "index.example")
"""What the manifest names instead of the hosts that this machine's pip is configured with."""
MOST = 300_000
"""Bytes that a golden bundle may have."""


def record(name: str, directory: Path) -> None:
    """Run a package, and keep its bundle when nothing of this machine or of a registry is in it."""
    package = make(name, directory)
    bundles = directory / name
    command = [Path(sys.executable).with_name("fumehood"), "run", "--quiet", "--fail-on", "never", package]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
    done = subprocess.run(
        command,
        check=False,
        stdout=subprocess.DEVNULL,
        env={**environment, "FUMEHOOD_BUNDLES": str(bundles), "PIP_CONFIG_FILE": os.devnull},
    )
    if done.returncode:
        sys.exit(f"{name}: fumehood run ended with {done.returncode}")
    (sealed,) = (path for path in bundles.iterdir() if path.is_dir())
    bundle = Bundle.open(sealed)
    manifest = msgspec.structs.replace(bundle.manifest, registry_hosts=REGISTRY)
    (sealed / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
    _refuse_traces_of_here(Bundle.open(sealed), (*bundle.manifest.registry_hosts, f"{Path.home()}/", f"{Path.cwd()}/"))
    target = BUNDLES / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(sealed, target)


def _refuse_traces_of_here(bundle: Bundle, words: tuple[str, ...]) -> None:
    size = 0
    for name in (*bundle.manifest.files, MANIFEST):
        path = bundle.path / name
        size += path.stat().st_size
        content = path.read_bytes() if name == MANIFEST else b"".join(bundle.chunks(name))
        for word in words:
            # In a DNS message, as a trace quotes it, lengths stand where the dots were.
            forms = (word, r"\3".join(word.split(".")[-2:]))
            if any(form.encode() in content for form in forms):
                sys.exit(f"{bundle.path}: {name} names {word}; a golden bundle must not")
    if size > MOST:
        sys.exit(f"{bundle.path}: {size} bytes are too many for a golden bundle")


def main() -> None:
    """Record those that the command line names, or all."""
    parser = argparse.ArgumentParser(description="Record golden bundles and their reports.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all when none is named: {', '.join(NAMES)}")
    names = parser.parse_args().names or NAMES
    if unknown := sorted(set(names) - set(NAMES)):
        parser.error(f"there is no golden bundle {unknown[0]!r}; there are {', '.join(NAMES)}")
    with tempfile.TemporaryDirectory() as directory:
        for name in names:
            record(name, Path(directory))
            sys.stdout.write(f"recorded {name}\n")
    bless(names)


if __name__ == "__main__":
    main()
