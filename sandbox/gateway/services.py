"""What every connection of the gateway shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox.gateway.capture import Capture
    from sandbox.gateway.config import Limits
    from sandbox.gateway.dns import NameServer
    from sandbox.gateway.journal import Journal
    from sandbox.gateway.leaves import LeafMint
    from sandbox.gateway.metadata import MetadataService
    from sandbox.gateway.names import AddressBook
    from sandbox.gateway.registry_client import RegistryClient


@dataclass(frozen=True, slots=True)
class Services:
    """The parts that answer, and the journal."""

    limits: Limits
    journal: Journal
    capture: Capture
    book: AddressBook
    names: NameServer
    mint: LeafMint
    metadata: MetadataService
    registry: RegistryClient
