"""What a slot has at hand before its first run: loaded once, inherited by the process of each run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.database import open_database
from sandbox.evidence import open_evidence
from sandbox.profile import load_profile
from sandbox.rules_commands import load_rules
from sandbox.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sqlalchemy import Engine

    from collector.sigma.rule import RuleSet
    from sandbox.config import Configuration
    from sandbox.evidence import EvidenceStore
    from sandbox.profile import Profile


@dataclass(frozen=True, kw_only=True)
class Work:
    """Everything that runs share."""

    configuration: Configuration
    engine: Engine
    rules: RuleSet
    profiles: Mapping[str, Profile]
    """Those that may be asked for, by name."""
    evidence: EvidenceStore
    cache: Path
    """fumehood's cache directory."""


def runs_directory(configuration: Configuration) -> Path:
    """Where runs of this host leave their evidence until it is stored: a directory each, locked while it is in use."""
    return configuration.data / "runs"


def load_profiles(configuration: Configuration) -> dict[str, Profile]:
    """The profiles that may be asked for, by name; the first is the default.

    Raises:
        ProfileError: One of them is wrong, or missing.
    """
    loaded = map(load_profile, configuration.worker.profiles)
    return {profile.name: profile for profile in loaded}


def load_work(configuration: Configuration, environment: Mapping[str, str]) -> Work:
    """Load all of it; takes a moment, for the rules.

    Raises:
        SandboxError: The configuration, a profile or a rule is wrong.
    """
    return Work(
        configuration=configuration,
        engine=open_database(configuration.database),
        rules=load_rules().prepare(),
        profiles=load_profiles(configuration),
        evidence=open_evidence(configuration.evidence),
        cache=Settings.from_environment(environment).cache,
    )
