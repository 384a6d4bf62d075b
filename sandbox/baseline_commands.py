"""What `fumehood image baseline` does: every empty package run once, and the shapes of what they did kept."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from collector.baseline import SCHEMA, Baseline, Recorded, Shaper
from collector.bundle import Bundle
from collector.timeline import build
from sandbox import baselines, empty_packages
from sandbox.run import Job, run
from sandbox.terminal.progress import QuietProgress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sandbox.pod.choose import Wanted
    from sandbox.profile import Profile
    from sandbox.settings import Settings


def record(
    profile: Profile,
    pod: Wanted,
    settings: Settings,
    told: Callable[[str], None],
    names: Sequence[str] = empty_packages.NAMES,
) -> Path:
    """Run every empty package, and keep the shapes of what they did.

    Args:
        profile: Whose image and phases.
        pod: Where they run; the baseline is for this kind of pod and its runtime.
        settings: Where the baseline is kept. The bundles of these runs are not.
        told: Called with one line for each package.
        names: Which empty packages.

    Returns:
        The file, in the cache.
    """
    shapes: set[str] = set()
    recorded: list[Recorded] = []
    with tempfile.TemporaryDirectory() as scratch:
        apart = msgspec.structs.replace(settings, bundles=Path(scratch) / "bundles")
        for name in names:
            archive = empty_packages.make(name, Path(scratch))
            job = Job(package=str(archive), artefact="auto", profile=profile, pod=pod)
            bundle = Bundle.open(run(job, apart, QuietProgress(), lambda: None))
            shaper = Shaper(bundle.manifest)
            before = len(shapes)
            shapes.update(shaper.shape(event) for event in build(bundle).events)
            install = next((phase for phase in bundle.manifest.phases if phase.name == "install"), None)
            completed = install is not None and install.status == "completed" and not install.exit_code
            recorded.append(Recorded(name=name, completed=completed))
            new = len(shapes) - before
            told(f"{name}: {new:,} more shapes of events" + ("" if completed else "; its installation failed"))
    manifest = bundle.manifest
    baseline = Baseline(
        schema=SCHEMA,
        image=manifest.image.digest,
        pod=manifest.isolation.pod,
        runtime=manifest.isolation.runtime,
        recorded=tuple(recorded),
        shapes=tuple(sorted(shapes - {""})),
    )
    path = baselines.path(settings.cache, baseline.image, manifest.isolation)
    path.parent.mkdir(parents=True, exist_ok=True)
    scrap = path.with_suffix(".partial")
    scrap.write_bytes(msgspec.json.encode(baseline))
    scrap.replace(path)
    return path
