from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .index_server import IndexServer, running

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def index() -> Iterator[IndexServer]:
    with running() as server:
        yield server


@pytest.fixture
def other() -> Iterator[IndexServer]:
    """A second server; called `localhost` instead of by its address it is another host."""
    with running() as server:
        yield server
