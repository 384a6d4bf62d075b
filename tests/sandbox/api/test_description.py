"""The OpenAPI document is true: what is sent by it, to any endpoint and by anybody, is answered as it says."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import hypothesis
import msgspec
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, strategies
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core import NOT_SET
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from sandbox.submissions import workers
from sandbox.tokens import ROLES
from tests.sandbox.api.openapi import PAGE, described
from tests.sandbox.api.test_access import LOWEST
from tests.sandbox.api.test_runs import BUNDLE, stored

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.config import Configuration
    from sandbox.tokens import Role
    from tests.sandbox.api.conftest import Offered
    from tests.servers import RedisServer

EXAMPLES = int(os.environ.get("FUMEHOOD_API_EXAMPLES", "8"))
"""Requests of each role to each endpoint; `make api-fuzz` sends many more."""
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]


def test_the_page_is_of_this_version() -> None:
    assert PAGE.read_text(encoding="utf-8") == described(), "renew it: python -m tests.sandbox.api.openapi"


@pytest.fixture
def api(configuration: Configuration, offer: Callable[..., Offered], redis_server: RedisServer) -> Offered:
    """With all that a service needs, so that no check has a reason to fail."""
    plan = msgspec.structs.replace(configuration.api, requests_per_minute=1_000_000)
    api = offer(msgspec.structs.replace(configuration, api=plan, redis=redis_server.url))
    now = api.service.clock()
    row = workers.WorkerRow(name="host-1.42", host="host-1", slots=1, started=now, seen=now + 3600, draining=False)
    workers.register(api.service.engine, row)
    return api


@pytest.fixture
def known(api: Offered) -> dict[str, str]:
    """Things that are there, to be asked for beside those that are not."""
    run, report = stored(api, BUNDLE)
    submission = api.submitted(webhook="https://soar.example/hooks").id
    api.finish(api.run(submission), state="done", run=run, sha256=report.package.sha256, verdict=report.verdict)
    return {"id": submission, "run": run, "label": "known-good", "lane": "sweep"}


# Who may do everything does so on both databases: what one takes, the other may refuse.
@pytest.mark.parametrize(
    ("configuration", "role"),
    [("sqlite", None), ("sqlite", "submit"), ("postgresql", "analyst"), ("sqlite", "admin"), ("postgresql", "admin")],
    indirect=["configuration"],
)
def test_any_request_is_answered_as_described(api: Offered, known: dict[str, str], role: Role | None) -> None:
    schema = schemathesis.openapi.from_url(f"{api.url}/api/v1/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert {(it.method.upper(), it.path) for it in operations} == set(LOWEST)
    for operation in operations:
        assert _sent(api, operation, role, known)


def _sent(api: Offered, operation: Any, role: Role | None, known: dict[str, str]) -> int:
    """Send requests of one role to one endpoint; how many those were."""
    lowest = LOWEST[operation.method.upper(), operation.path]
    allowed = lowest is None or (role is not None and ROLES.index(role) >= ROLES.index(lowest))
    # Set at the very last, as the generator may take headers away to see what happens.
    auth = _Bearer(api.secret(role)) if role else _Nobody()
    statuses = []

    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=bool(os.environ.get("CI")),
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(
        case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
        | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
        there=strategies.booleans(),
    )
    def send(case: Any, there: bool) -> None:
        if there:
            case.path_parameters = {**(case.path_parameters or {}), **_those(known, case)}
        answer = case.call(auth=auth, timeout=60)
        case.validate_response(answer, checks=CHECKS)
        statuses.append(answer.status_code)
        if allowed:
            assert answer.status_code not in {401, 403} or case.operation.path.endswith("/cancel")
        else:
            # A body that is no JSON is refused before anybody asks whose it is.
            refused = {403 if role else 401} | (set() if case.body is NOT_SET else {400, 422})
            assert answer.status_code in refused

    send()
    return len(statuses)


class _Bearer(requests.auth.AuthBase):
    def __init__(self, secret: str) -> None:
        self._secret = secret

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._secret}"
        return request


class _Nobody(requests.auth.AuthBase):
    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


def _those(known: dict[str, str], case: Any) -> dict[str, str]:
    return {name: value for name, value in known.items() if f"{{{name}}}" in case.operation.path}
