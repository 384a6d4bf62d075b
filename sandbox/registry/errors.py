"""What can go wrong between us and the package index."""

from __future__ import annotations

from sandbox.errors import SandboxError


class RegistryError(SandboxError):
    """The index could not give what was asked; `status` is the HTTP status that a pod's client is shown."""

    def __init__(self, message: str, status: int = 502) -> None:
        super().__init__(message)
        self.status = status


class NotFoundError(RegistryError):
    """The index answered, and does not have it (status 404 or another 4xx)."""


class UnreachableError(RegistryError):
    """The index or file host did not answer, or not in a usable way."""


class IntegrityError(RegistryError):
    """The bytes do not have the digest that the index promised."""


class TooLargeError(RegistryError):
    """The answer is larger than the bound for one download."""
