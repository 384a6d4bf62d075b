"""Somebody who is not root, for whom what a test needs is in reach."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.images import BaseImage

_ROOT = Path(__file__).resolve().parents[3]
UID = 60123
"""Nobody's: has neither a name nor subordinate ids."""
_OPENED = """
closed=$1; shift
for path; do [ "$path" = -- ] && break; mkdir -p "$PLACE/opened$path"; mount --bind "$path" "$PLACE/opened$path"; done
for directory in $closed; do mount -t tmpfs -o mode=0755 none "$directory"; done
while [ "$1" != -- ]; do mkdir -p "$1"; mount --bind "$PLACE/opened$1" "$1"; shift; done
shift
exec "$@"
"""
"""Replaces the directories named first by ones that everybody may pass, with nothing in them but the given paths."""


def as_somebody(place: Path, rootfs: Path, group: int | None = None) -> list[str]:
    """What makes root an unprivileged uid for which our Python, our code and the base root filesystem are in reach.

    They may be below root's home. Only in a mount namespace that ends with the command are they anywhere else.
    """
    needed = {Path(os.path.realpath(path)) for path in (sys.base_prefix, sys.prefix, _ROOT, rootfs)}
    outermost = [path for path in sorted(needed) if not needed & set(path.parents)]
    closed = [next(iter(_closed(path)), None) for path in outermost]
    shut = sorted({str(directory) for directory in closed if directory})
    moved = [str(path) for path, directory in zip(outermost, closed, strict=True) if directory]
    private = ["env", f"PLACE={place}", "unshare", "--mount", "--propagation", "private", "--", "sh", "-euc", _OPENED]
    user = [
        "setpriv",
        f"--reuid={UID}",
        f"--regid={UID}",
        "--clear-groups" if group is None else f"--groups={group}",
        "--",
    ]
    return [*private, "sh", " ".join(shut), *moved, "--", *user]


def observed(module: str, image: BaseImage) -> bytes:
    """The last line that `python -m MODULE HOME ROOTFS PYTHON` prints for an ordinary user.

    That is this one, or an unprivileged uid that root becomes. HOME is an empty directory of theirs.
    """
    # Every user can reach it, which pytest's own are not.
    place = Path(tempfile.mkdtemp(prefix="fumehood-ordinary-", dir="/var/tmp"))
    try:
        place.chmod(0o755)
        home = place / "home"
        home.mkdir()
        become = []
        if os.getuid() == 0:
            os.chown(home, UID, UID)
            become = as_somebody(place, image.rootfs)
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(home), "LANG": "C.UTF-8"}
        done = subprocess.run(
            [*become, sys.executable, "-m", module, str(home), str(image.rootfs), image.image.python],
            check=False,
            capture_output=True,
            cwd="/",
            env={**environment, "PYTHONPATH": str(_ROOT)},
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.splitlines()[-1]
    finally:
        shutil.rmtree(place)


def _closed(path: Path) -> Iterator[Path]:
    """Directories above `path` that others may not pass, outermost first."""
    return (directory for directory in reversed(path.parents) if not directory.stat().st_mode & stat.S_IXOTH)
