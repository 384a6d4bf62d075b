"""Bundles are sealed whole or not at all, and runs side by side do not take each other for crashed ones."""

from __future__ import annotations

import multiprocessing
import os
from typing import TYPE_CHECKING

import pytest

from sandbox.bundle import BundleWriter
from sandbox.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


def _many(bundles: Path, worker: int, times: int) -> None:
    for number in range(times):
        with BundleWriter(bundles, f"{worker}-{number}") as bundle:
            bundle.add("file.zst", b"content")
            assert bundle.directory.is_dir()


def test_workers_side_by_side_leave_each_other_alone(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_many, args=(tmp_path, worker, 60)) for worker in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def _crash(bundles: Path) -> None:
    with BundleWriter(bundles, "crashed") as bundle:
        bundle.add("file", b"content")
        os._exit(9)


def test_what_a_crash_left_is_removed_by_the_next_run(tmp_path: Path) -> None:
    worker = multiprocessing.get_context("spawn").Process(target=_crash, args=(tmp_path,))
    worker.start()
    worker.join(timeout=300)
    assert worker.exitcode == 9
    assert (tmp_path / "crashed.partial").is_dir()
    with BundleWriter(tmp_path, "next") as bundle:
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "next.partial"]
        assert bundle.directory.stat().st_mode & 0o077 == 0


def test_a_place_that_cannot_be_written_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"bundles cannot be written to .*file: .*; set FUMEHOOD_BUNDLES"):
        BundleWriter(tmp_path / "file", "run")
