"""A profile: everything about a run that a person may choose, in one YAML file that fits on a screen."""

from sandbox.profile.load import load_profile
from sandbox.profile.model import (
    PHASES,
    BaitPlan,
    Egress,
    Limits,
    MetadataPlan,
    Persona,
    PhaseBudget,
    PhaseName,
    Profile,
)

__all__ = [
    "PHASES",
    "BaitPlan",
    "Egress",
    "Limits",
    "MetadataPlan",
    "Persona",
    "PhaseBudget",
    "PhaseName",
    "Profile",
    "load_profile",
]
