"""Builds small real bundles on disk: the same layout and manifest that a run seals."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec
import zstandard

from collector.manifest import (
    BUNDLE_SCHEMA,
    Bait,
    FileEntry,
    Image,
    Isolation,
    Manifest,
    Package,
    Phase,
    Profile,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
from collector.records import EndRecord

START = 1_795_347_400.0
HOME = "/home/dev"
PYTHON = f"{HOME}/.venv/bin/python"
SSH_VALUE = "-----BEGIN FAKE KEY-----\nQmFpdEJhaXRCYWl0QmFpdA==\n-----END FAKE KEY-----"
AWS_VALUE = "BAITAKIA0123456789SECRETsecretSECRETsecret"

BAITS = (
    Bait(name="aws-secret-access-key", kind="aws", where=f"{HOME}/.aws/credentials", value=AWS_VALUE),
    Bait(name="ssh-private-key", kind="ssh", where=f"{HOME}/.ssh/id_ed25519", value=SSH_VALUE),
)

PHASES = ("dependencies", "install", "startup", "import", "exercise", "linger")


def trace_name(phase: str) -> str:
    return f"traces/{phase}.strace.zst"


def make_phases(**changed: Phase) -> tuple[Phase, ...]:
    """Six completed phases of ten seconds each; `changed` replaces by name (`import_` for import)."""
    phases = []
    for number, name in enumerate(PHASES):
        argv = () if name == "linger" else (PYTHON, "-c", f"phase_{name}")
        usual = Phase(
            name=name,
            status="completed",
            exit_code=None if name == "linger" else 0,
            started=START + 10.0 * number,
            ended=START + 10.0 * number + 9.5,
            argv=argv,
            trace="" if name == "linger" else trace_name(name),
        )
        phases.append(changed.get(name, changed.get(f"{name}_", usual)))
    return tuple(phases)


def make_package(name: str = "thing", version: str = "1.0") -> Package:
    filename = f"{name}-{version}-py3-none-any.whl"
    return Package(
        purl=f"pkg:pypi/{name}@{version}",
        ecosystem="pypi",
        name=name,
        version=version,
        filename=filename,
        sha256=hashlib.sha256(filename.encode()).hexdigest(),
        kind="wheel",
        origin="file",
    )


def make_manifest(
    phases: Sequence[Phase] | None = None,
    *,
    files: Mapping[str, FileEntry] | None = None,
    interrupted: bool = False,
    package: Package | None = None,
) -> Manifest:
    return Manifest(
        schema=BUNDLE_SCHEMA,
        run="0123456789abcdef",
        created="2026-11-22T12:00:00Z",
        fumehood="0.1.0",
        package=package or make_package(),
        profile=Profile(name="pypi", sha256="a" * 64),
        image=Image(name="debian-12-python3.11", digest="b" * 64, python="3.11.2", pip="23.0.1"),
        isolation=Isolation(pod="bubblewrap", kernel="6.18.0", outer_user="root", uid_ranges=2),
        tools={"strace": "6.1", "bwrap": "0.8.0", "python": "3.11.2"},
        registry_hosts=("index.example", "files.example"),
        home=HOME,
        site_packages=f"{HOME}/.venv/lib/python3.11/site-packages",
        user="dev",
        phases=make_phases() if phases is None else tuple(phases),
        interrupted=interrupted,
        files=dict(files or {}),
    )


def compressed(content: bytes | str) -> bytes:
    return zstandard.ZstdCompressor(level=3).compress(content.encode() if isinstance(content, str) else content)


def records(items: Sequence[msgspec.Struct]) -> bytes:
    """One JSON object a line, as the gateway writes them."""
    return b"".join(msgspec.json.encode(item) + b"\n" for item in items)


def end_of(items: Sequence[msgspec.Struct]) -> EndRecord:
    """The record with which a gateway ends."""
    return EndRecord(ts=START + 3600, records=len(items))


def write_bundle(  # noqa: PLR0913 - each part of a bundle has its own keyword
    path: Path,
    *,
    traces: Mapping[str, str | bytes] | None = None,
    gateway: Sequence[msgspec.Struct] = (),
    registry: Sequence[msgspec.Struct] = (),
    baits: Sequence[Bait] = BAITS,
    phases: Sequence[Phase] | None = None,
    extra: Mapping[str, bytes] | None = None,
    interrupted: bool = False,
    package: Package | None = None,
) -> Path:
    """Write a sealed bundle at `path` and return it.

    `traces` maps a phase to the text of its trace (empty by default); `extra` adds files as stored.
    """
    chosen = make_phases() if phases is None else tuple(phases)
    content = {
        "bait.json": msgspec.json.encode(list(baits)),
        "profile.yaml": b"name: pypi\n",
        "gateway.jsonl.zst": compressed(records([*gateway, end_of(gateway)])),
        "registry.jsonl.zst": compressed(records(registry)),
        "resources.jsonl.zst": compressed(b""),
    }
    for phase in chosen:
        if phase.trace:
            content[phase.trace] = compressed((traces or {}).get(phase.name, ""))
    content.update(extra or {})
    files = {name: FileEntry(sha256=hashlib.sha256(data).hexdigest(), size=len(data)) for name, data in content.items()}
    for name, data in content.items():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    manifest = make_manifest(chosen, files=files, interrupted=interrupted, package=package)
    (path / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    return path
