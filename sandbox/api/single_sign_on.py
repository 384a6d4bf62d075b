"""People who were signed on by a proxy in front: its headers count when the connection comes from it, and only then."""

from __future__ import annotations

import ipaddress
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from sandbox.api.problems import ProblemError
from sandbox.errors import ConfigurationError
from sandbox.tokens import ROLES, Role

if TYPE_CHECKING:
    from starlette.requests import Request

    from sandbox.config import TrustedProxy

_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_USER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")
_MOST_GROUPS: Final = 200
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
PREFIX: Final = "user:"
"""Before the names of people, so that no token's name can be one."""


class Person(NamedTuple):
    """Somebody whom the proxy vouches for."""

    name: str
    role: Role


class SingleSignOn:
    """The proxy that is trusted, if any."""

    def __init__(self, plan: TrustedProxy | None) -> None:
        """Read the plan.

        Raises:
            ConfigurationError: A peer is neither an address nor a network.
        """
        self._plan = plan
        self._peers = tuple(_network(peer) for peer in plan.peers) if plan else ()

    def person(self, request: Request) -> Person | None:
        """Who asks, as far as the proxy says; `None` when it does not, or is not the peer.

        Raises:
            ProblemError: The person has no role here, or the request was made by another site's page (403).
        """
        plan = self._plan
        if plan is None or not self._trusts(request):
            return None
        users = request.headers.getlist(plan.user_header)
        if not users:
            return None
        if len(users) > 1 or not _USER.fullmatch(users[0]):
            raise _refused("the proxy names no person that can be understood")
        groups = {
            group.strip()
            for line in request.headers.getlist(plan.groups_header)
            for group in line.split(",")[:_MOST_GROUPS]
        }
        roles = [role for group, role in plan.roles.items() if group in groups]
        if not roles:
            raise _refused("none of your groups has a role here; an administrator adds one (`api.trusted_proxy.roles`)")
        _check_origin(request)
        return Person(PREFIX + users[0], max(roles, key=ROLES.index))

    def _trusts(self, request: Request) -> bool:
        try:
            peer = ipaddress.ip_address(request.client.host) if request.client else None
        except ValueError:
            return False
        if isinstance(peer, ipaddress.IPv6Address) and peer.ipv4_mapped:
            peer = peer.ipv4_mapped
        return peer is not None and any(peer in network for network in self._peers)


def _check_origin(request: Request) -> None:
    """A browser sends the proxy's cookie along with whatever any site makes it ask: nothing is changed by that."""
    if request.method in _SAFE:
        return
    site = request.headers.get("sec-fetch-site")
    ours = "origin" not in request.headers if site is None else site in {"same-origin", "none"}
    if not ours:
        raise _refused("a page of another site asked for this")


def _network(peer: str) -> _Network:
    try:
        return ipaddress.ip_network(peer)
    except ValueError as error:
        detail = f"api.trusted_proxy.peers: {peer[:64]!a} is neither an address nor a network such as 10.1.0.0/24"
        raise ConfigurationError(detail) from error


def _refused(why: str) -> ProblemError:
    return ProblemError(HTTPStatus.FORBIDDEN, "forbidden", why)
