"""The same again, with something changed: what a rerun is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from sandbox.intake.archive import check_kind

if TYPE_CHECKING:
    from sandbox.submissions.model import Submission


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """How a rerun differs from its origin; `None` leaves it as it was."""

    profile: str | None = None
    artefact: Literal["auto", "wheel", "sdist"] | None = None
    pod: Literal["auto", "bubblewrap", "docker"] | None = None
    runtime: str | None = None


def changed(origin: Submission, changes: Changes) -> Submission:
    """The origin as it would have been submitted with the changes. A runtime stays with its pod.

    Raises:
        IntakeError: It was uploaded, and is not of the kind that is asked for.
    """
    artefact = changes.artefact or origin.artefact
    if origin.upload:
        check_kind(origin.package, artefact)
    same = changes.pod is None and changes.runtime is None
    return msgspec.structs.replace(
        origin,
        profile=changes.profile or origin.profile,
        artefact=artefact,
        pod=changes.pod or origin.pod,
        runtime=origin.runtime if same else changes.runtime or "",
    )
