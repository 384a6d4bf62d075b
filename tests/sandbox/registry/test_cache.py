from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from sandbox.registry.cache import Cache, Note
from sandbox.registry.errors import IntegrityError, TooLargeError

from .index_server import digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_blobs_are_found_by_digest(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    blob = cache.store([b"ab", b"c"], expected=digest(b"abc"), max_bytes=3)
    assert (blob.sha256, blob.size, blob.path.read_bytes()) == (digest(b"abc"), 3, b"abc")
    assert Cache(tmp_path).blob(digest(b"abc")) == blob
    assert cache.blob(digest(b"other")) is None
    assert cache.blob("../../etc/passwd") is None


def test_wrong_or_large_bytes_leave_nothing(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with pytest.raises(IntegrityError):
        cache.store([b"abc"], expected="0" * 64, max_bytes=10)
    with pytest.raises(TooLargeError):
        cache.store([b"abc"] * 10, max_bytes=10)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_notes_survive_and_broken_ones_are_ignored(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    note = Note(url="https://index.example/", sha256="a" * 64, stored=1.0, etag='"e"')
    cache.remember("key\udcff", note)
    assert Cache(tmp_path).note("key\udcff") == note
    (file,) = (tmp_path / "notes").rglob("*.json")
    file.write_bytes(b"{")
    assert cache.note("key\udcff") is None


def test_trim_removes_the_least_recently_used(tmp_path: Path) -> None:
    cache = Cache(tmp_path, cap=25)
    blobs = [cache.store([bytes([65 + n]) * 10], max_bytes=100) for n in range(4)]
    for age, blob in zip((4000, 9000, 2000, 0), blobs, strict=True):
        when = time.time() - age
        os.utime(blob.path, (when, when))
    assert cache.trim() == 20
    assert [blob.path.exists() for blob in blobs] == [False, False, True, True]


def test_trim_spares_what_was_just_used(tmp_path: Path) -> None:
    cache = Cache(tmp_path, cap=1)
    blob = cache.store([b"0123456789"], max_bytes=100)
    assert cache.trim() == 0
    assert blob.path.exists()


def test_trimming_is_not_done_all_the_time(tmp_path: Path) -> None:
    cache = Cache(tmp_path, cap=1)
    cache.trim_when_due()
    blob = cache.store([b"0123456789"], max_bytes=100)
    os.utime(blob.path, (1, 1))
    cache.trim_when_due()
    assert blob.path.exists()
    os.utime(tmp_path / "trimmed", (1, 1))
    cache.trim_when_due()
    assert not blob.path.exists()


@pytest.mark.parametrize("damaged", [b"", b"ab", b"abX", b"abcd"])
def test_damaged_blobs_are_as_good_as_none(tmp_path: Path, damaged: bytes) -> None:
    cache = Cache(tmp_path)
    blob = cache.store([b"abc"], max_bytes=10)
    blob.path.write_bytes(damaged)
    assert cache.blob(blob.sha256) is None
    assert not blob.path.exists()
    assert cache.store([b"abc"], max_bytes=10) == cache.blob(blob.sha256) == blob


def test_a_large_blob_that_was_cut_off_is_noticed(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    blob = cache.store([bytes(1024**2)] * 65, max_bytes=100 * 1024**2)
    assert cache.blob(blob.sha256) == blob
    os.truncate(blob.path, blob.size - 1)
    assert cache.blob(blob.sha256) is None


_CRASHES = """
import os, signal, sys
from pathlib import Path
from sandbox.registry.cache import Cache

def chunks():
    yield b"half"
    print("ready", flush=True)
    sys.stdin.read()
    yield b"whole"

Cache(Path(sys.argv[1])).store(chunks(), max_bytes=100)
"""


def test_what_a_crash_left_goes_and_what_is_being_written_stays(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _CRASHES, tmp_path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        Cache(tmp_path)
        assert len(list((tmp_path / "incoming").iterdir())) == 1
        writer.kill()
    Cache(tmp_path)
    assert list((tmp_path / "incoming").iterdir()) == []


def test_a_download_goes_on_while_others_open_the_cache(tmp_path: Path) -> None:
    cache = Cache(tmp_path)

    def chunks() -> Iterator[bytes]:
        yield b"half, "
        Cache(tmp_path)
        yield b"whole"

    assert cache.store(chunks(), max_bytes=100).path.read_bytes() == b"half, whole"
