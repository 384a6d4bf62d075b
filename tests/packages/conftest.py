"""Runs a family of emulations once in a session."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest

from tests.packages import observe as observing

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.packages.build import Side


@pytest.fixture(scope="session")
def observe(
    base_image: object,  # noqa: ARG001 - built before it is timed out
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str, Side], observing.Observed]:
    """Runs a family's package, or its twin, at most once in a session."""

    @cache
    def run(family: str, side: Side) -> observing.Observed:
        return observing.run(family, side, tmp_path_factory.mktemp(f"{family}-{side}"))

    return run
