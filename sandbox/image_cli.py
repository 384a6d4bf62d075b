"""The commands `fumehood image ...`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from sandbox.pod_options import POD, RUNTIME, runtime_for
from sandbox.settings import Settings

if TYPE_CHECKING:
    from sandbox.pod.choose import PodName


@click.group()
def image() -> None:
    """Look after the base root filesystems that pods are made from."""


@image.command()
@click.option("--profile", default="pypi", show_default=True, help="Build the image that this profile names.")
def build(profile: str) -> int:
    """Build the base root filesystem, unless it is there already. `fumehood run` does so by itself."""
    from sandbox import images
    from sandbox.profile import load_profile

    settings = Settings.from_environment(os.environ)
    image = images.ensure(load_profile(profile).image, settings.cache, lambda text: click.echo(text, err=True))
    click.echo(image.rootfs)
    return 0


@image.command()
@click.option("--profile", default="pypi", show_default=True, help="Record it for the image that this profile names.")
@POD
@RUNTIME
def baseline(profile: str, pod: PodName, runtime: str) -> int:
    """Record what an empty package does, to tell the usual from what a package does of its own.

    Runs an empty wheel and an empty sdist of each common build backend, whose packages come from the index that pip is
    configured with. The outcome is kept in the cache, for this image and this kind of pod; later runs put it into their
    bundles, reports count what it explains, and `fumehood events --unusual` leaves it out.
    """
    from sandbox.baseline_commands import record
    from sandbox.pod.choose import Wanted, check
    from sandbox.profile import load_profile

    wanted = Wanted(pod=pod, runtime=runtime_for(pod, runtime))
    check(wanted)
    settings = Settings.from_environment(os.environ)
    click.echo(record(load_profile(profile), wanted, settings, lambda text: click.echo(text, err=True)))
    return 0
