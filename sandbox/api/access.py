"""Who asks, and whether they may."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from sandbox import tokens
from sandbox.api.problems import ProblemError
from sandbox.api.service import Service, ServiceNeeded
from sandbox.tokens import ROLES, Role

BEARER: Final = HTTPBearer(
    auto_error=False, scheme_name="token", description="A token that `fumehood token create` printed."
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request."""

    name: str
    role: Role
    key: str
    """What their requests and streams are counted by: a token's id, or a person's name."""

    def may(self, role: Role) -> bool:
        """Whether the caller has at least this role."""
        return ROLES.index(self.role) >= ROLES.index(role)


class Requires:
    """Lets nobody below a role in; the test of access finds it on every endpoint."""

    def __init__(self, role: Role) -> None:
        self.role = role

    def __call__(
        self,
        request: Request,
        service: ServiceNeeded,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)],
    ) -> Caller:
        """The caller.

        Raises:
            ProblemError: Nobody is known to have sent this (401), their role is too low (403), or they ask too often
                (429).
        """
        caller = _identified(request, service, credentials)
        request.scope["fumehood.caller"] = caller.name
        wait = service.rates.take(caller.key, time.monotonic())
        if wait:
            raise ProblemError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too-often",
                f"more than {service.configuration.api.requests_per_minute} requests a minute (each of a batch "
                "counts); ask less often",
                headers={"Retry-After": str(math.ceil(wait))},
            )
        if not caller.may(self.role):
            raise ProblemError(
                HTTPStatus.FORBIDDEN, "forbidden", f"this needs the role {self.role!r}; yours is {caller.role!r}"
            )
        return caller


def _identified(request: Request, service: Service, credentials: HTTPAuthorizationCredentials | None) -> Caller:
    """The caller: a token stands before what a proxy says."""
    if credentials is None:
        person = service.single_sign_on.person(request)
        if person is not None:
            return Caller(person.name, person.role, person.name)
    token = tokens.find(service.engine, credentials.credentials, service.clock()) if credentials else None
    if token is None:
        said = "the token is unknown, expired or revoked" if credentials else "a token is needed"
        raise ProblemError(
            HTTPStatus.UNAUTHORIZED,
            "unauthorised",
            f"{said}; send `Authorization: Bearer TOKEN` (`fumehood token create` makes one)",
            headers={"WWW-Authenticate": 'Bearer realm="fumehood"'},
        )
    return Caller(token.name, token.role, token.id)


Submitter = Annotated[Caller, Depends(Requires("submit"))]
Analyst = Annotated[Caller, Depends(Requires("analyst"))]
Admin = Annotated[Caller, Depends(Requires("admin"))]
