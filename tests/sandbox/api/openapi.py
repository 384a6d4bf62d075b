"""Writes docs/openapi.json anew: `python -m tests.sandbox.api.openapi`."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from sandbox.api.app import create_app
from sandbox.api.service import open_service
from sandbox.config import Configuration

PAGE = Path(__file__).parents[3] / "docs/openapi.json"


def described() -> str:
    """The OpenAPI document of this version, as it is kept in the repository."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        configuration = Configuration(
            data=place,
            database=f"sqlite:///{place / 'none.sqlite'}",
            redis="",
            evidence=str(place / "evidence"),
            uploads=place / "uploads",
        )
        document = create_app(open_service(configuration)).openapi()
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PAGE.write_text(described(), encoding="utf-8")
