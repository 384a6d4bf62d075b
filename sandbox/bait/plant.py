"""Fills a profile's bait plan with fresh secrets: the files, variables and answers of one run."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from collector.manifest import Bait
from sandbox.bait.kinds import KINDS, Secret
from sandbox.bait.template import references, render, sole_reference

if TYPE_CHECKING:
    from sandbox.profile.model import Profile

_LIFETIME = timedelta(hours=6)


class Planted(msgspec.Struct, frozen=True, kw_only=True):
    """What one run plants. Holds secrets: it goes to the pod and to the bundle's `bait.json`, nowhere else."""

    baits: tuple[Bait, ...]
    host: str
    """The persona's host name, its random part drawn."""
    files: dict[str, bytes]
    """Content by path relative to the home directory."""
    private: frozenset[str]
    """Paths of `files` that hold a secret: on a real machine only their owner may read them (mode 0600)."""
    environment: dict[str, str]
    """The persona's variables and the secret ones."""
    metadata: dict[str, str]
    """What the cloud metadata service gives: `role`, `credentials` (the body of the AWS form) and `token` (of the
    other clouds); empty without a plan."""


class _Values:
    """The secrets of one run and the other names that templates may use."""

    def __init__(self, profile: Profile, host: str, rng: random.Random, now: datetime) -> None:
        self.secrets: dict[str, Secret] = {name: KINDS[kind](rng) for name, kind in profile.bait.values.items()}
        self._plain = {
            "user": profile.persona.user,
            "host": host,
            "home": profile.persona.home,
            "now": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "later": (now + _LIFETIME).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    def text(self, reference: str) -> str:
        """What stands for a reference; `load_profile` has made sure that each one exists."""
        if reference in self._plain:
            return self._plain[reference]
        name, _, part = reference.partition(".")
        secret = self.secrets[name]
        return secret.parts[part] if part else secret.text or secret.value

    def content(self, template: str) -> bytes:
        """A file's bytes: the template rendered, or the secret's own file when it is no text."""
        secret = self.secrets.get(sole_reference(template))
        if secret and secret.content:
            return secret.content
        return render(template, self.text).encode()

    def baits(self, template: str, where: str) -> list[Bait]:
        """What a template plants at a place, each secret once."""
        found: list[Bait] = []
        for name in dict.fromkeys(references(template)):
            if secret := self.secrets.get(name):
                found.append(Bait(name=name, kind=secret.family, where=where, value=secret.value))
                found += [
                    Bait(name=f"{name}.{suffix}", kind=secret.family, where=where, value=value)
                    for suffix, value in secret.also.items()
                ]
        return found


def plant(profile: Profile, rng: random.Random | None = None, now: datetime | None = None) -> Planted:
    """Make the bait of one run.

    Args:
        profile: A profile from `load_profile`.
        rng: Source of randomness; the system's unless a test needs the same bait twice.
        now: Start of the run; the present unless a test needs another.
    """
    rng = rng or random.SystemRandom()
    host = _host(profile.persona.host, rng)
    values = _Values(profile, host, rng, now or datetime.now(UTC))
    plan = profile.bait
    baits: list[Bait] = []
    for path, template in plan.files.items():
        baits += values.baits(template, f"{profile.persona.home}/{path}")
    for variable, template in plan.environment.items():
        baits += values.baits(template, f"env:{variable}")
    metadata = {}
    if plan.metadata:
        baits += values.baits(plan.metadata.template, "http:")
        baits += values.baits(plan.metadata.token, "http:")
        metadata = {
            "role": plan.metadata.role,
            "credentials": render(plan.metadata.template, values.text),
            "token": render(plan.metadata.token, values.text),
        }
    secret_environment = {name: render(template, values.text) for name, template in plan.environment.items()}
    return Planted(
        baits=tuple(baits),
        host=host,
        files={path: values.content(template) for path, template in plan.files.items()},
        private=frozenset(path for path, template in plan.files.items() if values.baits(template, path)),
        environment={**profile.persona.environment, **secret_environment},
        metadata=metadata,
    )


def _host(template: str, rng: random.Random) -> str:
    return re.sub(
        r"\{hex([1-8])\}", lambda match: "".join(rng.choices("0123456789abcdef", k=int(match.group(1)))), template
    )
