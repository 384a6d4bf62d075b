"""One made-up address per name, so that a connection can be joined with the name that was looked up for it."""

from __future__ import annotations

import ipaddress

METADATA_IP = "169.254.169.254"
_FIRST = int(ipaddress.IPv4Address("198.18.0.1"))
_COUNT = 2 * 65536 - 2
_FIXED = {"metadata.google.internal": METADATA_IP}
_LOOPBACK = {"localhost": "127.0.0.1"}


class AddressBook:
    """Gives every name an address from 198.18.0.0/15; stable within the run.

    After 131,070 names addresses are given a second time; the join then names the newest.
    """

    def __init__(self) -> None:
        self._by_name: dict[str, str] = dict(_LOOPBACK)
        self._by_address: dict[str, str] = {}
        self._next = 0

    def address(self, name: str) -> str:
        """Return the address of a name (lower case, no final dot)."""
        if fixed := _FIXED.get(name):
            return fixed
        if known := self._by_name.get(name):
            return known
        address = str(ipaddress.IPv4Address(_FIRST + self._next % _COUNT))
        self._next += 1
        # The old owner of a reused address gets a new one when it is asked for again.
        if owner := self._by_address.get(address):
            del self._by_name[owner]
        self._by_name[name] = address
        self._by_address[address] = name
        return address

    def name(self, address: str) -> str:
        """Return the name whose address this is; empty when there is none."""
        return self._by_address.get(address, "")
