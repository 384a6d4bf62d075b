"""Where fumehood keeps things on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Directories; made when first needed."""

    cache: Path
    """Base root filesystems and what the registry answered. Safe to delete."""
    bundles: Path
    """Evidence bundles, one directory a run."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """FUMEHOOD_CACHE and FUMEHOOD_BUNDLES, else the XDG directories of the user."""
        home = Path(environment.get("HOME", "/"))
        cache = environment.get("FUMEHOOD_CACHE") or str(
            Path(environment.get("XDG_CACHE_HOME") or home / ".cache") / "fumehood"
        )
        bundles = environment.get("FUMEHOOD_BUNDLES") or str(
            Path(environment.get("XDG_DATA_HOME") or home / ".local/share") / "fumehood/bundles"
        )
        return cls(cache=Path(cache).absolute(), bundles=Path(bundles).absolute())
