"""An S3-like server: moto, over HTTP. It keeps what it is given in memory, so it forgets when it is stopped."""

from __future__ import annotations

import re
import secrets
import sys
import urllib.request

from tests.servers.process import Server

_ADDRESS = re.compile(r"Running on (http://127\.0\.0\.1:\d+)")


class S3Server(Server):
    """One server; `url` is its endpoint, known once it has started."""

    name = "s3"

    def environment(self) -> dict[str, str]:
        """What a client of S3 finds it by."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "tests",
        }

    def create_bucket(self) -> str:
        """Make an empty bucket; its URL."""
        name = f"evidence-{secrets.token_hex(6)}"
        # moto tells services apart by what a signature is for, and does not check it.
        signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=tests/20260101/us-east-1/s3/aws4_request"}
        request = urllib.request.Request(f"{self.url}/{name}", method="PUT", headers=signed)  # noqa: S310 - loopback
        urllib.request.urlopen(request).close()  # noqa: S310
        return f"s3://{name}/fumehood"

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", "0"]

    def _answers(self) -> bool:
        # It listens before it says so.
        said = _ADDRESS.search(self.log.read_text())
        self.url = said[1] if said else ""
        return said is not None
