"""The Debian part of an image: packages installed by mmdebstrap and unpacked without owners or devices."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING

from recipe import BuildError, Recipe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def debootstrap(recipe: Recipe, rootfs: Path) -> None:
    """Let mmdebstrap install the packages and unpack its tar stream, owners and device nodes left out."""
    if not shutil.which("mmdebstrap"):
        raise BuildError("mmdebstrap is missing; install it with: apt-get install mmdebstrap")
    command = [
        "mmdebstrap",
        f"--mode={choose_mode()}",
        "--variant=minbase",
        "--format=tar",
        f"--components={','.join(recipe.components)}",
        f"--include={','.join(recipe.packages)}",
        '--aptopt=Acquire::Languages "none"',
        *(f"--aptopt={option}" for option in proxy_options()),
        *(f"--dpkgopt={option}" for option in exclude_options(recipe)),
        # By way of sh: an installation from a wheel may have lost the executable bit.
        f'--customize-hook=sh {shlex.quote(str(recipe.folder / "customise"))} "$1"',
        recipe.suite,
        "-",
        *sources(recipe),
    ]
    unpack = ["tar", "--extract", "--file=-", f"--directory={rootfs}", "--no-same-owner", "--preserve-permissions"]
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    with tempfile.TemporaryFile() as log:
        with (
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment) as maker,
            subprocess.Popen([*unpack, "--exclude=./dev/*"], stdin=maker.stdout, stderr=log) as tar,
        ):
            if maker.stdout:
                maker.stdout.close()
        if maker.returncode or tar.returncode:
            log.seek(0)
            tail = log.read().decode(errors="replace").strip().splitlines()[-15:]
            raise BuildError("mmdebstrap failed, its last words were:\n  " + "\n  ".join(tail))


def choose_mode() -> str:
    """Pick how mmdebstrap becomes root in the image: as root itself, by user namespaces, or by fakechroot."""
    if os.geteuid() == 0:
        return "root"
    if shutil.which("newuidmap") and _has_subordinate_ids() and _user_namespaces_work():
        return "unshare"
    if shutil.which("fakechroot") and shutil.which("fakeroot"):
        return "fakechroot"
    raise BuildError(
        "an ordinary user needs subordinate ids to build the image; as root do one of: "
        "apt-get install uidmap and usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER; "
        "apt-get install fakechroot fakeroot; or run `make setup` as root"
    )


def _has_subordinate_ids() -> bool:
    get = shutil.which("getsubids")
    if not get:
        return False
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    return all(
        subprocess.run([get, *flags, user], capture_output=True, check=False).returncode == 0 for flags in ([], ["-g"])
    )


def _user_namespaces_work() -> bool:
    return subprocess.run(["unshare", "--user", "true"], capture_output=True, check=False).returncode == 0


def exclude_options(recipe: Recipe) -> Iterator[str]:
    """Turn the list of paths into dpkg's options."""
    for pattern in recipe.excludes:
        yield f"path-include={pattern[1:]}" if pattern.startswith("!") else f"path-exclude={pattern}"


def proxy_options() -> Iterator[str]:
    """Pass on the apt proxy of this machine, which mmdebstrap does not do by itself."""
    for name in ("Acquire::http::Proxy", "Acquire::https::Proxy"):
        dump = subprocess.run(["apt-config", "dump", "--format=%v", name], capture_output=True, text=True, check=False)
        if dump.stdout.strip():
            yield f'{name} "{dump.stdout.strip()}"'


def sources(recipe: Recipe) -> list[str]:
    """Name the Debian mirrors this machine uses, as apt source lines; none lets mmdebstrap use its default."""
    query = ["apt-get", "indextargets", "--format", "$(LABEL)\t$(SITE)", "Origin: Debian", "Created-By: Packages"]
    answer = subprocess.run(query, capture_output=True, text=True, check=False)
    sites: dict[str, str] = {}
    for line in answer.stdout.splitlines():
        label, _, site = line.partition("\t")
        # Other methods (mirror+file, cdrom) point into this machine; credentials must not end up in an image.
        if site.startswith(("http://", "https://")) and "@" not in site:
            sites.setdefault(label, site)
    if not {"Debian", "Debian-Security"} <= sites.keys():
        return []
    components = " ".join(recipe.components)
    return [
        f"deb {sites['Debian']} {recipe.suite} {components}",
        f"deb {sites['Debian']} {recipe.suite}-updates {components}",
        f"deb {sites['Debian-Security']} {recipe.suite}-security {components}",
    ]
