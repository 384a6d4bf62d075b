"""What happens to a root filesystem once it is unpacked: facts, mount points, modes, drivers."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path

from recipe import BuildError, Recipe

DRIVERS = Path("opt/fumehood")
# What a pod binds over must exist in the read-only root filesystem.
EMPTY_DIRECTORIES = ("opt/artefact", "home", "proc", "sys", "dev", "run", "tmp", "var/tmp", "usr/local/share")
EMPTY_FILES = (
    "etc/resolv.conf",
    "etc/hosts",
    "etc/hostname",
    "etc/localtime",
    "etc/machine-id",
    "etc/pip.conf",
)
EXISTING_FILES = ("etc/passwd", "etc/group", "etc/ssl/certs/ca-certificates.crt", "usr/bin/python3")
LEFTOVERS = ("etc/apt/apt.conf.d/99mmdebstrap", "etc/dpkg/dpkg.cfg.d/99mmdebstrap", "etc/.pwd.lock")
# As on any machine; everything else is readable by all, whoever built it.
PRIVATE = ("root", "etc/shadow", "etc/gshadow", "etc/ssl/private")


def finish(rootfs: Path) -> dict[str, object]:
    """Take the facts out of the unpacked tree, remove leftovers, make mount points and set modes."""
    folder = rootfs / ".image-facts"
    facts = json.loads((folder / "clients.json").read_text(encoding="utf-8"))
    facts["packages"] = dict(
        line.split("\t") for line in (folder / "packages").read_text(encoding="utf-8").splitlines()
    )
    shutil.rmtree(folder)
    for name in LEFTOVERS:
        (rootfs / name).unlink(missing_ok=True)
    for name in EMPTY_DIRECTORIES:
        (rootfs / name).mkdir(parents=True, exist_ok=True)
    for name in EMPTY_FILES:
        (rootfs / name).unlink(missing_ok=True)
        (rootfs / name).touch()
    missing = [name for name in EXISTING_FILES if not (rootfs / name).is_file()]
    if missing:
        raise BuildError(f"the new root filesystem lacks {', '.join(missing)}")
    for parent, directories, files in os.walk(rootfs):
        for name in (*directories, *files):
            _make_readable(Path(parent, name))
    for name in PRIVATE:
        if (rootfs / name).exists():
            (rootfs / name).chmod(0o700 if (rootfs / name).is_dir() else 0o600)
    return dict(facts)


def _make_readable(path: Path) -> None:
    mode = path.lstat().st_mode
    if stat.S_ISDIR(mode):
        path.chmod(stat.S_IMODE(mode) | 0o755)
    elif stat.S_ISREG(mode):
        path.chmod(stat.S_IMODE(mode) & ~0o6000 | (0o755 if mode & 0o111 else 0o644))


def install_drivers(recipe: Recipe, rootfs: Path) -> None:
    """Copy the drivers, and give the launcher a directory from which nothing but pip can be imported."""
    home = rootfs / DRIVERS
    home.mkdir(parents=True, mode=0o755)
    for source in sorted((recipe.folder / "drivers").glob("*.py")):
        shutil.copyfile(source, home / source.name)
        (home / source.name).chmod(0o644)
    only_pip = home / "only-pip"
    only_pip.mkdir()
    (only_pip / "pip").symlink_to("/usr/lib/python3/dist-packages/pip")
