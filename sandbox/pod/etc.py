"""The files below /etc that make the pod's machine and user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.pod.interface import TRACEE_UID

if TYPE_CHECKING:
    from pathlib import Path

_RESOLVER = "192.168.1.1"
"""What resolv.conf names: a home router. Every address is the gateway's anyway."""


def files(  # noqa: PLR0913, PLR0917 - what they are made of
    user: str, hostname: str, rootfs: Path, certificate_pem: bytes, pip_conf: bytes, uid: int = TRACEE_UID
) -> dict[str, bytes]:
    """The files, by path relative to the stage.

    Args:
        user: Name of the tracee's user.
        hostname: Name of the tracee's machine.
        rootfs: The base root filesystem, for its own users, groups and certificates.
        certificate_pem: The run's own authority, which the tracee trusts like the others.
        pip_conf: pip's system-wide configuration.
        uid: Id of the user and of its group.
    """
    passwd = (rootfs / "etc/passwd").read_bytes() + _line(
        f"{user}:x:{uid}:{uid}:{user.capitalize()},,,:/home/{user}:/bin/bash"
    )
    group = (rootfs / "etc/group").read_bytes() + _line(f"{user}:x:{uid}:")
    hosts = f"127.0.0.1\tlocalhost\n127.0.1.1\t{hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n"
    authorities = (rootfs / "etc/ssl/certs/ca-certificates.crt").read_bytes() + certificate_pem
    return {
        "etc/passwd": passwd,
        "etc/group": group,
        "etc/hosts": hosts.encode(),
        "etc/hostname": _line(hostname),
        "etc/resolv.conf": _line(f"nameserver {_RESOLVER}"),
        "etc/pip.conf": pip_conf,
        "etc/ssl/certs/ca-certificates.crt": authorities,
    }


def _line(text: str) -> bytes:
    return f"{text}\n".encode()
