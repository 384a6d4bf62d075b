"""The programs of this machine that the embedded pod is made with."""

from __future__ import annotations

import shutil
import subprocess

import msgspec

from sandbox.errors import PodError

_PACKAGES = {
    "bwrap": "bubblewrap",
    "strace": "strace",
    "nft": "nftables",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "prlimit": "util-linux",
}
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""An ordinary user's PATH lacks the sbin directories, where Debian puts nft and ip."""


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """Absolute paths."""

    bwrap: str
    strace: str
    nft: str
    ip: str
    nsenter: str
    setpriv: str
    prlimit: str


def find_tools() -> Tools:
    """Look the programs up.

    Raises:
        PodError: One is missing; the message names the Debian packages to install.
    """
    found = {name: shutil.which(name, path=_SYSTEM_PATH) for name in _PACKAGES}
    missing = sorted({_PACKAGES[name] for name, path in found.items() if path is None})
    if missing:
        raise PodError(f"the pod needs programs that are not here; run: apt-get install {' '.join(missing)}")
    return Tools(**{name: path for name, path in found.items() if path is not None})


def tool_versions(tools: Tools) -> dict[str, str]:
    """Versions of the tracer and of bubblewrap, as they print them."""
    versions = {}
    for name, path in (("strace", tools.strace), ("bwrap", tools.bwrap)):
        printed = subprocess.run([path, "--version"], check=False, capture_output=True, text=True).stdout
        versions[name] = (printed.splitlines() or ["?"])[0].split()[-1]
    return versions
