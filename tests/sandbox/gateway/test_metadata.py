from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from collector.records import HttpRecord
from sandbox.gateway.config import Metadata
from sandbox.gateway.metadata import MetadataService, is_metadata

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Pod

VALUES = {"role": "api", "document": '{"AccessKeyId":"ASIABAIT"}', "token": "ya29.bait"}
ROLE = "/latest/meta-data/iam/security-credentials/"


@pytest.fixture
def service() -> MetadataService:
    return MetadataService(Metadata(**VALUES))


def test_the_flow_of_an_aws_client(start: Callable[..., Pod]) -> None:
    pod = start(metadata=VALUES)
    base = "http://169.254.169.254"
    token = pod.curl("-X", "PUT", f"{base}/latest/api/token", "-H", "X-aws-ec2-metadata-token-ttl-seconds: 60")
    assert len(token) == 56
    role = pod.curl(f"{base}{ROLE}", "-H", f"X-aws-ec2-metadata-token: {token.decode()}").decode()
    assert json.loads(pod.curl(f"{base}{ROLE}{role}")) == {"AccessKeyId": "ASIABAIT"}
    records = pod.records(HttpRecord, count=3)
    assert {record.served_by for record in records} == {"metadata"}
    assert records[1].response_size == 3
    google = pod.curl("http://metadata.google.internal/computeMetadata/v1/", "-H", "Metadata-Flavor: Google")
    assert b"service-accounts/" in google


@pytest.mark.parametrize(
    ("target", "headers", "status", "text"),
    [
        ("/", {}, 200, b"latest"),
        ("/latest/meta-data/", {}, 200, b"iam/"),
        ("/latest/meta-data/iam/", {}, 200, b"security-credentials/"),
        (f"{ROLE}other", {}, 404, b"Not Found"),
        ("/v2/credentials/x", {}, 200, b"ASIABAIT"),
        ("/latest/api/token", {}, 404, b"Not Found"),
        ("/computeMetadata/v1/instance/service-accounts/default/token", {}, 403, b"Missing"),
        (
            "/computeMetadata/v1/instance/service-accounts/default/token?x=1",
            {"metadata-flavor": "Google"},
            200,
            b'{"access_token":"ya29.bait"',
        ),
        ("/metadata/identity/oauth2/token?resource=x", {}, 400, b"invalid_request"),
        ("/metadata/identity/oauth2/token?resource=x", {"metadata": "true"}, 200, b"ya29.bait"),
        ("//[", {}, 404, b"Not Found"),
    ],
)
def test_answers(service: MetadataService, target: str, headers: dict[str, str], status: int, text: bytes) -> None:
    answer = service.answer("GET", target, headers)
    assert (answer.status, text in answer.body) == (status, True)
    assert answer.served_by == "metadata"


def test_which_hosts_are_metadata_services() -> None:
    assert is_metadata("anything.test", "169.254.169.254")
    assert is_metadata("metadata.google.internal", "192.0.2.1")
    assert is_metadata("", "fd00:ec2::254")
    assert not is_metadata("collect.test", "169.254.169.253")
