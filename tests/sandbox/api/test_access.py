"""Who may do what: every endpoint stands in a table, and the server keeps to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from sandbox import tokens
from sandbox.database.schema import TOKENS
from sandbox.tokens import ROLES
from tests.sandbox.api.conftest import ON_BOTH

if TYPE_CHECKING:
    from tests.sandbox.api.conftest import Offered

LOWEST = {
    ("GET", "/api/v1/health"): None,
    ("GET", "/api/v1/ready"): None,
    ("GET", "/api/v1/checks"): "submit",
    ("GET", "/api/v1/metrics"): "submit",
    ("POST", "/api/v1/submissions"): "submit",
    ("POST", "/api/v1/submissions/batch"): "submit",
    ("POST", "/api/v1/submissions/upload"): "submit",
    ("GET", "/api/v1/submissions"): "analyst",
    ("GET", "/api/v1/submissions/{id}"): "submit",
    ("GET", "/api/v1/submissions/{id}/attempts"): "analyst",
    ("GET", "/api/v1/submissions/{id}/events"): "submit",
    ("POST", "/api/v1/submissions/{id}/cancel"): "submit",
    ("POST", "/api/v1/submissions/{id}/retry"): "analyst",
    ("POST", "/api/v1/submissions/{id}/rerun"): "analyst",
    ("GET", "/api/v1/submissions/{id}/report"): "submit",
    ("GET", "/api/v1/submissions/{id}/evidence"): "analyst",
    ("GET", "/api/v1/lanes"): "analyst",
    ("POST", "/api/v1/lanes/{lane}/pause"): "admin",
    ("POST", "/api/v1/lanes/{lane}/resume"): "admin",
    ("GET", "/api/v1/workers"): "analyst",
    ("POST", "/api/v1/workers/{name}/drain"): "admin",
    ("GET", "/api/v1/deliveries"): "admin",
    ("POST", "/api/v1/deliveries/{id}/retry"): "admin",
    ("GET", "/api/v1/runs"): "analyst",
    ("GET", "/api/v1/runs/{run}"): "analyst",
    ("GET", "/api/v1/runs/{run}/report"): "analyst",
    ("GET", "/api/v1/runs/{run}/evidence"): "analyst",
    ("PUT", "/api/v1/runs/{run}/labels/{label}"): "analyst",
    ("DELETE", "/api/v1/runs/{run}/labels/{label}"): "analyst",
}
"""The lowest role that may; `None` for anybody."""
PARTS = {"id": "01kb5wq3zt8f6n2v4m9c7x1y0e", "run": "0" * 16, "label": "known-good", "lane": "sweep", "name": "w"}
ID = PARTS["id"]


def test_every_endpoint_stands_in_the_table(api: Offered) -> None:
    with api.client("admin") as client:
        paths = client.get("/openapi.json").json()["paths"]
    there = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert there == set(LOWEST)


@pytest.mark.parametrize("role", [None, *ROLES])
def test_each_role_may_what_the_table_says_and_nothing_else(api: Offered, role: tokens.Role | None) -> None:
    wrong = {}
    with api.client(role) as client:
        for (method, path), lowest in LOWEST.items():
            filled = path.removeprefix("/api/v1").format(
                id=ID, run="0" * 16, label="known-good", lane="sweep", name="w"
            )
            status = client.request(method, filled).status_code
            if role is None and lowest is not None:
                expected = status == 401
            elif role and lowest and ROLES.index(role) < ROLES.index(lowest):
                expected = status == 403
            else:
                # Nobody runs here, which is what the checks are there to say.
                expected = status == 503 if path.endswith("/checks") else status not in {401, 403} and status < 500
            if not expected:
                wrong[method, path] = status
    assert wrong == {}


def test_no_route_is_hidden_from_the_description(api: Offered) -> None:
    with api.client(None) as client:
        for path in ("/docs", "/redoc", "/openapi.json"):
            refused = client.get(f"{api.url}{path}")
            assert refused.status_code == 404
            assert client.get(f"{api.url}{refused.json()['detail'].split()[5]}").json()["openapi"]


@ON_BOTH
def test_a_secret_is_kept_nowhere(api: Offered) -> None:
    secret = api.secret("submit")
    with api.service.engine.connect() as connection:
        rows = connection.execute(select(TOKENS)).all()
    assert len(rows) == 1
    assert all(secret not in str(value) and secret[9:] not in str(value) for row in rows for value in row)


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer x", "Basic eDp5", "Bearer fumehood_" + "A" * 43, "Bearer \xff"]
)
def test_what_is_no_token_is_refused(api: Offered, header: str) -> None:
    with api.client(None) as client:
        answer = client.get(f"/submissions/{ID}", headers={b"authorization": header.encode("latin-1")})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"] == "application/problem+json"


@ON_BOTH
def test_a_token_that_is_revoked_or_over_is_refused(api: Offered) -> None:
    engine, now = api.service.engine, api.service.clock()
    short, _ = tokens.create(engine, "short", "admin", now - 10, 5.0)
    _, over = tokens.create(engine, "short", "admin", now - 10, 5.0)
    token, secret = tokens.create(engine, "gone", "admin", now, None)
    with api.client(None) as client:
        url, used = f"/submissions/{ID}", {"Authorization": f"Bearer {secret}"}
        assert client.get(url, headers=used).status_code == 404
        assert tokens.revoke(engine, "gone", now) == 1
        assert client.get(url, headers=used).status_code == 401
        assert client.get(url, headers={"Authorization": f"Bearer {over}"}).status_code == 401
    found = {it.id: it for it in tokens.listed(engine)}
    assert found[token.id].used is not None
    assert found[short.id].used is None
