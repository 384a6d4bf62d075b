"""A store of evidence in which something happens at a moment that a test chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.evidence import EvidenceStore


class Meanwhile:
    """The store as it is, but for one method: a function of the test's is given the real one and the arguments."""

    def __init__(self, store: EvidenceStore, method: str, instead: Callable[..., Any]) -> None:
        self._store = store
        self._method = method
        self._instead = instead

    def __getattr__(self, name: str) -> Any:
        really = getattr(self._store, name)
        if name != self._method:
            return really
        return lambda *arguments: self._instead(really, *arguments)
