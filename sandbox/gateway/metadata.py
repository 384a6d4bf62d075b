"""The cloud metadata services (AWS, GCP, Azure, Alibaba, ECS), handing out bait."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import msgspec

from sandbox.gateway.answers import Answer, urlsplit_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.gateway.config import Metadata

_HOSTS = frozenset(
    {
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "100.100.100.200",
        "fd00:ec2::254",
        "metadata.google.internal",
        "metadata",
    },
)
_INSTANCE = "i-0c3f1b7a92d4e6581"
_ZONE = "eu-central-1a"
_TREE = {
    "/latest/": "dynamic\nmeta-data\nuser-data",
    "/latest/meta-data/": "ami-id\nhostname\niam/\ninstance-id\ninstance-type\nlocal-ipv4\nplacement/",
    "/latest/meta-data/ami-id": "ami-0a1b2c3d4e5f60718",
    "/latest/meta-data/hostname": "ip-10-0-3-27.eu-central-1.compute.internal",
    "/latest/meta-data/iam/": "info\nsecurity-credentials/",
    "/latest/meta-data/instance-id": _INSTANCE,
    "/latest/meta-data/instance-type": "t3.large",
    "/latest/meta-data/local-ipv4": "10.0.3.27",
    "/latest/meta-data/placement/": "availability-zone\nregion",
    "/latest/meta-data/placement/availability-zone": _ZONE,
    "/latest/meta-data/placement/region": _ZONE[:-1],
    "/latest/user-data": "#!/bin/sh\n",
}
_NOT_FOUND = Answer(status=404, content_type="text/html", body=b"404 - Not Found\n", served_by="metadata")


def is_metadata(host: str, ip: str) -> bool:
    """Tell whether a request goes to a metadata service, by the dialled address or the name asked for."""
    return ip in _HOSTS or host in _HOSTS


class MetadataService:
    """Answers as the clouds do; every credential in it is bait.

    Args:
        values: The bait.
    """

    def __init__(self, values: Metadata) -> None:
        self._values = values
        self._session = secrets.token_urlsafe(42)

    def answer(self, method: str, target: str, headers: Mapping[str, str]) -> Answer:
        """Answer one request; `headers` have lower-case names."""
        path = urlsplit_path(target)
        if path == "/latest/api/token":
            return _plain(self._session) if method == "PUT" else _NOT_FOUND
        if path.startswith("/computeMetadata/"):
            return self._google(path, headers)
        if path.startswith("/metadata/"):
            return self._azure(path, headers)
        if path.startswith(("/v2/credentials", "/v1/credentials")):
            return _json(self._values.document)
        if path.startswith("/meta-data/"):
            # The older spelling, also without a version.
            path = f"/latest{path}"
        return self._amazon(path)

    def _amazon(self, path: str) -> Answer:
        listing = "/latest/meta-data/iam/security-credentials"
        if path.rstrip("/") == listing:
            return _plain(self._values.role)
        if path.rstrip("/") == f"{listing}/{self._values.role}":
            return _json(self._values.document)
        if path == "/latest/dynamic/instance-identity/document":
            return _json(msgspec.json.encode({"instanceId": _INSTANCE, "region": _ZONE[:-1]}).decode())
        found = _TREE.get(path) or _TREE.get(f"{path}/")
        if found is None and path == "/":
            found = "1.0\nlatest"
        return _NOT_FOUND if found is None else _plain(found)

    def _google(self, path: str, headers: Mapping[str, str]) -> Answer:
        flavor = (("Metadata-Flavor", "Google"), ("Server", "Metadata Server for VM"))
        if headers.get("metadata-flavor", "").lower() != "google":
            return Answer(
                status=403,
                content_type="text/html",
                body=b"Missing Metadata-Flavor:Google header.\n",
                headers=flavor,
                served_by="metadata",
            )
        account = f"{self._values.role}@prod-241207.iam.gserviceaccount.com"
        last = path.rstrip("/").rpartition("/")[2]
        values = {
            "service-accounts": f"default/\n{account}/\n",
            "email": account,
            "project-id": "prod-241207",
            "hostname": "web-1.c.prod-241207.internal",
            "zone": "projects/241207/zones/europe-west3-a",
            "identity": self._values.token,
        }
        answer = self._token() if last == "token" else _plain(values.get(last, "attributes/\nservice-accounts/\n"))
        return msgspec.structs.replace(answer, headers=flavor)

    def _azure(self, path: str, headers: Mapping[str, str]) -> Answer:
        if headers.get("metadata", "").lower() != "true":
            return msgspec.structs.replace(_json('{"error":"invalid_request"}'), status=400)
        if path.rstrip("/") == "/metadata/identity/oauth2/token":
            return self._token()
        return _json('{"compute":{"location":"westeurope","name":"web-1","osType":"Linux","vmSize":"Standard_B2s"}}')

    def _token(self) -> Answer:
        document = {"access_token": self._values.token, "expires_in": 3599, "token_type": "Bearer"}
        return _json(msgspec.json.encode(document).decode())


def _plain(text: str) -> Answer:
    return Answer(body=text.encode(), served_by="metadata")


def _json(text: str) -> Answer:
    return Answer(content_type="application/json", body=text.encode(), served_by="metadata")
