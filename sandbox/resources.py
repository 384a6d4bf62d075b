"""Where the files that ship with fumehood are: profiles, rules, image recipes."""

from __future__ import annotations

from pathlib import Path


def _shipped(name: str) -> Path:
    """In an installed wheel the files are packed beside the code; in a checkout they are at the top."""
    here = Path(__file__).resolve().parent
    packed = here / "_data" / name
    # The packed place comes first: next to an installed `sandbox` lies other people's site-packages,
    # where a directory called `profiles` need not be ours.
    return packed if packed.is_dir() else here.parent / name


SWEEPS = "sweeps"
"""The one file beside the profiles that is none."""


def profiles_directory() -> Path:
    """Directory of the shipped profiles, `<name>.yaml` each."""
    return _shipped("profiles")


def profile_names() -> list[str]:
    """Names of the shipped profiles."""
    return sorted(path.stem for path in profiles_directory().glob("*.yaml") if path.stem != SWEEPS)


def rules_directory() -> Path:
    """Directory of the shipped Sigma rules."""
    return profiles_directory() / "rules"


def images_directory() -> Path:
    """Directory of the image recipes and the drivers that run inside the pod."""
    return _shipped("images")
