"""How often somebody may ask, and whom a proxy may vouch for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from sandbox.api.rates import Rates
from sandbox.config import TrustedProxy
from sandbox.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.config import Configuration
    from tests.sandbox.api.conftest import Offered

ID = "01kb5wq3zt8f6n2v4m9c7x1y0e"


def test_a_token_that_asks_too_often_waits_and_no_other(
    configuration: Configuration, offer: Callable[..., Offered]
) -> None:
    plan = msgspec.structs.replace(configuration.api, requests_per_minute=20)
    api = offer(msgspec.structs.replace(configuration, api=plan))
    with api.client("submit") as client, api.client("submit", "another") as other:
        statuses = [client.get(f"/submissions/{ID}").status_code for _ in range(6)]
        assert statuses[:2] == [404, 404]
        assert 429 in statuses
        refused = next(answer for _ in range(3) if (answer := client.get(f"/submissions/{ID}")).status_code == 429)
        assert 0 < int(refused.headers["retry-after"]) <= 3
        assert other.get(f"/submissions/{ID}").status_code == 404
        assert client.get("/health").status_code == 200


def test_a_bucket_fills_with_time() -> None:
    rates = Rates(60)
    assert [rates.take("a", 0.0) for _ in range(6)] == [0.0] * 6
    assert rates.take("a", 0.0) == pytest.approx(1.0)
    assert rates.take("a", 1.0) == 0.0
    assert rates.take("a", 1.5) == pytest.approx(0.5)
    assert [rates.take("a", 1000.0) for _ in range(7)].count(0.0) == 6


def test_each_of_a_batch_counts(configuration: Configuration, offer: Callable[..., Offered]) -> None:
    plan = msgspec.structs.replace(configuration.api, requests_per_minute=60)
    api = offer(msgspec.structs.replace(configuration, api=plan))
    batch = {"submissions": [{"purl": f"pkg:pypi/a{number}"} for number in range(500)]}
    with api.client("submit") as client:
        assert client.post("/submissions/batch", json=batch).status_code == 200
        refused = client.get(f"/submissions/{ID}")
        assert refused.status_code == 429
        # Eight minutes' worth, less what may come at once and the time until now.
        assert 300 < int(refused.headers["retry-after"]) < 500


def test_what_was_served_already_is_paid_for_later() -> None:
    rates = Rates(60)
    assert rates.take("a", 0.0) == 0.0
    rates.charge("a", 25)
    assert rates.take("a", 0.0) == pytest.approx(21.0)
    assert rates.take("b", 0.0) == 0.0
    assert rates.take("a", 21.0) == 0.0


@pytest.fixture
def proxied(configuration: Configuration, offer: Callable[..., Offered]) -> Callable[..., Offered]:
    def start(**more: Any) -> Offered:
        roles: dict[str, Any] = {"soc": "analyst", "root": "admin", "everyone": "submit"}
        proxy = TrustedProxy(**({"peers": ("127.0.0.0/8",), "roles": roles} | more))
        plan = msgspec.structs.replace(configuration.api, trusted_proxy=proxy)
        return offer(msgspec.structs.replace(configuration, api=plan))

    return start


def test_whom_the_proxy_vouches_for_has_the_role_of_their_groups(proxied: Callable[..., Offered]) -> None:
    headers = {"X-Forwarded-User": "martin@corp.example", "X-Forwarded-Groups": "everyone, soc"}
    api = proxied()
    with api.client(None, headers=headers) as client:
        assert client.get("/submissions").status_code == 200
        made = client.post("/submissions", json={"purl": "pkg:pypi/six"}, headers={"Sec-Fetch-Site": "same-origin"})
        assert made.json()["submitter"] == "user:martin@corp.example"
        assert client.get("/submissions", headers={"X-Forwarded-Groups": "everyone"}).status_code == 403
        assert client.get("/submissions", headers={"X-Forwarded-Groups": "socks"}).status_code == 403
        assert client.get("/submissions", headers={"X-Forwarded-User": "a\tb"}).status_code == 403
        # A token that is wrong is not made good by the proxy.
        assert client.get("/submissions", headers={"Authorization": "Bearer x"}).status_code == 401
    with api.client(None, headers=[*headers.items(), ("X-Forwarded-User", "root")]) as client:
        assert client.get("/submissions").status_code == 403


@pytest.mark.parametrize("peers", [("192.0.2.7",), ("10.0.0.0/8", "2001:db8::/32"), ("::1",)])
def test_the_headers_of_anybody_else_are_nothing(proxied: Callable[..., Offered], peers: tuple[str, ...]) -> None:
    headers = {"X-Forwarded-User": "martin", "X-Forwarded-Groups": "root", "X-Forwarded-For": "192.0.2.7"}
    with proxied(peers=peers).client(None, headers=headers) as client:
        assert client.get("/submissions").status_code == 401


def test_without_a_trusted_proxy_there_are_no_such_headers(api: Offered) -> None:
    with api.client(None, headers={"X-Forwarded-User": "martin", "X-Forwarded-Groups": "root"}) as client:
        assert client.get("/submissions").status_code == 401


def test_another_sites_page_changes_nothing(proxied: Callable[..., Offered]) -> None:
    headers = {"X-Forwarded-User": "martin", "X-Forwarded-Groups": "root"}
    with proxied().client(None, headers=headers) as client:
        body = {"purl": "pkg:pypi/six"}
        for site in ("cross-site", "same-site", "x"):
            assert client.post("/submissions", json=body, headers={"Sec-Fetch-Site": site}).status_code == 403
        assert client.post("/submissions", json=body, headers={"Origin": "https://evil.test"}).status_code == 403
        assert client.post("/submissions", json=body).status_code == 201
        answer = client.get("/submissions", headers={"Origin": "https://evil.test"})
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_a_peer_that_is_none_is_told_at_the_start(proxied: Callable[..., Offered]) -> None:
    with pytest.raises(ConfigurationError, match=r"10.1.0.0/24"):
        proxied(peers=("proxy.example",))
