"""From what the configuration says to the store that it means."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sandbox.errors import ConfigurationError
from sandbox.evidence.directory import DirectoryStore

if TYPE_CHECKING:
    from sandbox.evidence.store import EvidenceStore

_S3: Final = "s3://"
_RETRIES: Final = 4
_RETRY_FOR: Final = timedelta(seconds=60)


def open_evidence(place: str) -> EvidenceStore:
    """The evidence store at a place; nothing is asked of it yet.

    Args:
        place: A directory, or `s3://BUCKET/PREFIX`, which needs the extra `s3`. Endpoint, region and credentials of the
            latter are taken from the usual environment variables: AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID,
            AWS_SECRET_ACCESS_KEY; AWS_ALLOW_HTTP=true lets an endpoint be without TLS.

    Raises:
        ConfigurationError: It is neither.
    """
    if place.startswith(_S3):
        return _objects(place)
    if "://" in place:
        raise ConfigurationError(f"evidence cannot be kept at {place!a}; write a directory, or s3://BUCKET/PREFIX")
    return DirectoryStore(Path(place).absolute())


def _objects(place: str) -> EvidenceStore:
    try:
        from obstore.exceptions import BaseError
        from obstore.store import S3Store

        from sandbox.evidence.objects import ObjectsStore
    except ModuleNotFoundError as error:
        raise ConfigurationError("evidence in S3 needs obstore: pip install 'fumehood[s3]'") from error
    bucket, _, prefix = place.removeprefix(_S3).partition("/")
    if not bucket:
        raise ConfigurationError("the evidence's place names no bucket; write s3://BUCKET/PREFIX")
    try:
        objects = S3Store(
            bucket,
            prefix=prefix.strip("/") or None,
            client_options={
                # Of one request; an archive may be large and the line slow.
                "timeout": "15 minutes",
                "connect_timeout": "10 seconds",
                # It is not looked for in the environment any more once there are options.
                "allow_http": os.environ.get("AWS_ALLOW_HTTP", "").lower() == "true",
            },
            retry_config={"max_retries": _RETRIES, "retry_timeout": _RETRY_FOR},
        )
    except (BaseError, ValueError) as error:
        raise ConfigurationError(f"the evidence store {place} cannot be used: {str(error).splitlines()[0]}") from error
    return ObjectsStore(objects, place)
