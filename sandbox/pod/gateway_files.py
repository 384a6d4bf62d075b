"""What the gateway of a pod is given on disk: its certificate authority and its configuration. The same in all pods."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from sandbox.gateway.config import GatewayConfig, Metadata
from sandbox.gateway.config import Limits as GatewayLimits
from sandbox.pod import network

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sandbox.pod.interface import PodPlan

_MEGABYTE = 1 << 20


def write(plan: PodPlan, directory: Path, registry_socket: str, *, until_eof: bool = False) -> Path:
    """Write the files.

    Args:
        plan: The pod's.
        directory: Existing private directory, which the gateway sees under the same name.
        registry_socket: Path of the registry proxy's socket, as the gateway sees it.
        until_eof: The gateway ends with its standard input.

    Returns:
        The configuration's path.
    """
    gateway, limits = plan.gateway, plan.limits
    (directory / "ca.pem").write_bytes(gateway.certificate_pem)
    (directory / "ca.key").write_bytes(gateway.key_pem)
    (directory / "scratch").mkdir(mode=0o700)
    config = GatewayConfig(
        tcp_port=network.TCP_PORT,
        dns_port=network.DNS_PORT,
        records=str(directory / "gateway.jsonl"),
        capture=str(directory / "capture.pcapng"),
        scratch=str(directory / "scratch"),
        ca_certificate=str(directory / "ca.pem"),
        ca_key=str(directory / "ca.key"),
        registry_socket=registry_socket if gateway.registry_hosts else "",
        registry_hosts=gateway.registry_hosts,
        metadata=_metadata(gateway.metadata),
        limits=GatewayLimits(
            record_bytes=limits.gateway_mb * _MEGABYTE,
            body_bytes=limits.body_kb << 10,
            connections=limits.connections,
        ),
        until_eof=until_eof,
    )
    path = directory / "config.json"
    path.write_bytes(msgspec.json.encode(config))
    return path


def _metadata(planted: Mapping[str, str]) -> Metadata:
    if not planted:
        return Metadata()
    return Metadata(role=planted["role"], document=planted["credentials"], token=planted["token"])
