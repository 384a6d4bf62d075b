"""Which release of a named package is to run, and whether it is."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from packaging.version import Version

from sandbox.sweeps.feeds.names import parts_of, purl_of
from sandbox.sweeps.feeds.project import uploaded

if TYPE_CHECKING:
    from sandbox.sweeps.feeds.project import Project, ReleaseFile
    from sandbox.sweeps.plan import Artefact, Filters

_DAY: Final = 86_400.0
_MIB: Final = 1024**2


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done about one package."""

    state: Literal["run", "skipped", "gone"]
    release: str = ""
    """The purl with its version; empty when none was found."""
    reason: str = ""


def refuses_name(purl: str, filters: Filters) -> str:
    """Why the project's name keeps it out; empty when it does not."""
    name, _ = parts_of(purl)
    if any(fnmatchcase(name, pattern) for pattern in filters.not_names):
        return "its name is excluded"
    if not any(fnmatchcase(name, pattern) for pattern in filters.names):
        return "its name is not among those wanted"
    return ""


def decide(purl: str, artefact: Artefact, project: Project | None, filters: Filters, now: float) -> Decision:
    """Choose the release, and look at its age, size and kind.

    Args:
        purl: As a feed names it; without a version the newest release is meant.
        artefact: What is to run of it.
        project: What the indexes say about it; `None` when they do not know it.
        filters: Those of the sweep.
        now: UTC seconds since the epoch.
    """
    name, written = parts_of(purl)
    if project is None:
        return Decision(state="gone", reason="the index does not know the project (any more)")
    versions = project.versions()
    if not versions:
        return Decision(state="gone", reason="the project has no wheel and no sdist (any more)")
    version = Version(written) if written else versions[0]
    files = project.of(version)
    if not files:
        return Decision(state="gone", reason=f"the project has no release {version} (any more)")
    release = purl_of(name, str(version))
    wanted = _wanted(files, artefact)
    if not wanted:
        return Decision(state="skipped", release=release, reason=f"the release has no {artefact}")
    reason = _age(uploaded(files), filters, now) or _size(wanted, filters)
    return Decision(state="skipped" if reason else "run", release=release, reason=reason)


def _wanted(files: tuple[ReleaseFile, ...], artefact: Artefact) -> tuple[ReleaseFile, ...]:
    return tuple(file for file in files if artefact in ("auto", file.kind))


def _age(when: float | None, filters: Filters, now: float) -> str:
    if filters.newer_than_days is None and filters.older_than_days is None:
        return ""
    if when is None:
        return "the index does not say when it came, and the sweep filters by age"
    days = (now - when) / _DAY
    if filters.newer_than_days is not None and days > filters.newer_than_days:
        return f"older than {filters.newer_than_days} days"
    if filters.older_than_days is not None and days < filters.older_than_days:
        return f"not yet {filters.older_than_days} days old"
    return ""


def _size(files: tuple[ReleaseFile, ...], filters: Filters) -> str:
    """Several wheels: which one will run is not known here, so the smallest decides. An unknown size is no reason."""
    if filters.largest_mb is None:
        return ""
    smallest = min((file.size for file in files if file.size is not None), default=0)
    return f"larger than {filters.largest_mb} MiB" if smallest > filters.largest_mb * _MIB else ""
