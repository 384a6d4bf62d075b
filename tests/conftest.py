"""What several test packages share: the base root filesystem, built once, as a user would have it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import settings as hypothesis_settings

from sandbox import images
from sandbox.settings import Settings
from tests.servers.fixtures import (
    database_url,
    own_postgresql,
    postgresql,
    postgresql_url,
    redis_server,
    s3,
    s3_server,
    start_redis,
)
from tests.side_by_side import (
    pytest_collection_modifyitems,
    pytest_runtest_protocol,
    pytest_sessionfinish,
    pytest_xdist_make_scheduler,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "database_url",
    "own_postgresql",
    "postgresql",
    "postgresql_url",
    "pytest_collection_modifyitems",
    "pytest_runtest_protocol",
    "pytest_sessionfinish",
    "pytest_xdist_make_scheduler",
    "redis_server",
    "s3",
    "s3_server",
    "start_redis",
]

# No test is timed. CI tries the same examples each time, so that a red run is a change's fault; people explore.
hypothesis_settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis_settings.register_profile("explore", deadline=None)
hypothesis_settings.load_profile("ci" if os.environ.get("CI") else "explore")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Commands that run in a test's own process set up logging for good: the next test starts without it."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def base_image() -> images.BaseImage:
    """The image of the shipped profile; building it is part of what is tested."""
    return images.ensure("debian12-python", Settings.from_environment(os.environ).cache, print)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The user's cache, and bundles of the test's own."""
    return Settings(cache=Settings.from_environment(os.environ).cache, bundles=tmp_path / "bundles")
