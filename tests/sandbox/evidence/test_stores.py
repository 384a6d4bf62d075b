"""A directory and an S3-like server keep evidence alike: whole or not at all, once, and verified on each read."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import secrets
import shutil
import stat
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import obstore
import pytest
from obstore.store import S3Store

from collector.bundle import Bundle
from collector.errors import BundleError
from sandbox.errors import ConfigurationError, EvidenceDamagedError, EvidenceError, EvidenceMissingError, UsageError
from sandbox.evidence import open_evidence
from sandbox.evidence.archive import pack, unpack
from tests.collector.bundles import write_bundle

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.evidence import EvidenceStore

    Damage = Callable[[Callable[[bytes], bytes]], None]

GOLDEN = Path(__file__).parents[2] / "golden" / "bundles"


@pytest.fixture(params=["directory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "evidence") if request.param == "directory" else request.getfixturevalue("s3")


@pytest.fixture
def store(place: str) -> EvidenceStore:
    return open_evidence(place)


def made(path: Path, run: str | None = None, output: bytes = b"said\n") -> Path:
    """A bundle of a run of its own."""
    write_bundle(path, extra={"output/install.stdout": output})
    manifest = msgspec.json.decode((path / "manifest.json").read_bytes())
    manifest["run"] = run or secrets.token_hex(8)
    (path / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    return path


def content(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.iterdir()))
def test_a_real_bundle_comes_back_as_it_was(store: EvidenceStore, name: str) -> None:
    seal = store.put(GOLDEN / name)
    assert seal.size == sum(len(data) for data in content(GOLDEN / name).values())
    assert list(store.runs()) == [seal.run]
    assert store.seal(seal.run) == seal
    with store.open(seal.run) as bundle:
        assert bundle.manifest.run == seal.run
        assert content(bundle.path) == content(GOLDEN / name)


def test_the_same_bundle_may_be_put_again_and_another_for_its_run_may_not(store: EvidenceStore, tmp_path: Path) -> None:
    first, other = made(tmp_path / "a", "0" * 16), made(tmp_path / "b", "0" * 16, b"something else\n")
    seal = store.put(first)
    assert store.put(first) == seal
    with pytest.raises(EvidenceError, match="never written over"):
        store.put(other)
    with store.open(seal.run) as bundle:
        assert content(bundle.path) == content(first)


def test_of_many_that_put_other_evidence_for_one_run_at_once_one_stands(place: str, tmp_path: Path) -> None:
    bundles = [made(tmp_path / str(number), "0" * 16, str(number).encode()) for number in range(8)]

    def put(path: Path) -> Path | None:
        try:
            open_evidence(place).put(path)
        except EvidenceError:
            return None
        return path

    with ThreadPoolExecutor(8) as pool:
        [standing] = [path for path in pool.map(put, bundles) if path]
    with open_evidence(place).open("0" * 16) as bundle:
        assert content(bundle.path) == content(standing)


def test_what_is_not_a_whole_bundle_does_not_come_in(store: EvidenceStore, tmp_path: Path) -> None:
    bundle = made(tmp_path / "a")
    (bundle / "output/install.stdout").write_bytes(b"SAID\n")
    with pytest.raises(BundleError, match="sha256"):
        store.put(bundle)
    assert list(store.runs()) == []


@pytest.mark.parametrize("name", ["output/..hidden", "output/a b", f"output/{'n' * 200}", "output/\u202ename"])
def test_names_that_no_bundle_of_ours_has_do_not_come_in(store: EvidenceStore, tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match="is not one that a bundle of ours has"):
        store.put(write_bundle(tmp_path / "a", extra={name: b""}))
    assert list(store.runs()) == []


@pytest.mark.parametrize("run", ["", "../../etc", "A" * 16, "0" * 33, "0" * 15 + "\n"])
def test_what_is_no_id_of_a_run_is_not_looked_for(store: EvidenceStore, run: str) -> None:
    for look in (store.seal, store.delete, store.archive, lambda it: store.open(it).__enter__()):
        with pytest.raises(UsageError, match="is not the id of a run"):
            look(run)


def test_what_was_deleted_or_never_there_is_missing(store: EvidenceStore, tmp_path: Path) -> None:
    run = store.put(made(tmp_path / "a")).run
    assert store.delete(run)
    assert not store.delete(run)
    assert list(store.runs()) == []
    for look in (store.seal, store.archive, lambda it: store.open(it).__enter__()):
        with pytest.raises(EvidenceMissingError, match=f"no evidence of run {run}"):
            look(run)
    assert store.put(tmp_path / "a").run == run


def test_runs_are_told_in_order_from_where_one_was(store: EvidenceStore, tmp_path: Path) -> None:
    runs = sorted(store.put(made(tmp_path / str(number))).run for number in range(7))
    assert list(store.runs()) == runs
    assert list(store.runs(after=runs[3])) == runs[4:]
    assert list(store.runs(after=runs[6])) == []


def test_what_else_lies_in_a_store_is_no_run(tmp_path: Path, s3: str) -> None:
    run = open_evidence(str(tmp_path / "evidence")).put(GOLDEN / "pth-beacon").run
    (tmp_path / "evidence" / run[:2] / "Notes of mine").mkdir()
    (tmp_path / "evidence" / "lost+found").mkdir()
    assert list(open_evidence(str(tmp_path / "evidence")).runs()) == [run]
    open_evidence(s3).put(GOLDEN / "pth-beacon")
    bucket, _, prefix = s3.removeprefix("s3://").partition("/")
    obstore.put(S3Store(bucket, prefix=prefix), "sealed/notes of mine.txt", b"x")
    assert list(open_evidence(s3).runs()) == [run]


def test_the_archive_is_the_same_from_every_store_and_each_time(tmp_path: Path, s3: str) -> None:
    bundle = GOLDEN / "pth-beacon"
    archives = []
    for place in (str(tmp_path / "one"), str(tmp_path / "two"), s3):
        run = open_evidence(place).put(bundle).run
        for _ in range(2):
            with open_evidence(place).archive(run) as file:
                archives.append(file.read())
    assert len(set(archives)) == 1
    (tmp_path / "it.zip").write_bytes(archives[0])
    with zipfile.ZipFile(tmp_path / "it.zip") as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "unpacked")
    assert content(tmp_path / "unpacked" / run) == content(bundle)
    assert Bundle.open(tmp_path / "unpacked" / run).manifest.run == run


def test_an_archive_is_as_usual_for_other_programs(tmp_path: Path) -> None:
    with (tmp_path / "it.zip").open("w+b") as file:
        pack(Bundle.open(GOLDEN / "pth-beacon"), file)
    with zipfile.ZipFile(tmp_path / "it.zip") as archive:
        for entry in archive.infolist():
            assert stat.S_IMODE(entry.external_attr >> 16) == 0o644
            assert not entry.flag_bits & 0x08  # sizes stand before the content, so that it can be unpacked as it comes


def _damage_directory(root: Path, run: str, name: str) -> None:
    path = root / run[:2] / run / name
    data = path.read_bytes()
    path.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])


@pytest.mark.parametrize("name", ["bundle/manifest.json", "bundle/bait.json", "bundle/gateway.jsonl.zst", "seal.json"])
def test_a_flipped_bit_in_a_directory_is_never_read_as_evidence(tmp_path: Path, name: str) -> None:
    store = open_evidence(str(tmp_path / "evidence"))
    run = store.put(GOLDEN / "pth-beacon").run
    _damage_directory(tmp_path / "evidence", run, name)
    for look in (store.archive, lambda it: store.open(it).__enter__()):
        with pytest.raises(EvidenceDamagedError, match=f"evidence of run {run} is damaged.*restore it from a backup"):
            look(run)


def test_a_flipped_bit_in_s3_is_never_read_as_evidence(s3: str) -> None:
    store = open_evidence(s3)
    seal = store.put(GOLDEN / "pth-beacon")
    bucket, _, prefix = s3.removeprefix("s3://").partition("/")
    objects = S3Store(bucket, prefix=prefix)
    key = f"archives/{seal.run}/{seal.archive_sha256}.zip"
    data = bytes(obstore.get(objects, key).bytes())
    assert hashlib.sha256(data).hexdigest() == seal.archive_sha256
    changed = data[:500] + bytes([data[500] ^ 1]) + data[501:]
    for bad, said in ((changed, "has not the sha256"), (None, "its archive is gone")):
        if bad is None:
            obstore.delete(objects, key)
        else:
            obstore.put(objects, key, bad)
        for look in (store.archive, lambda it: store.open(it).__enter__()):
            with pytest.raises(EvidenceDamagedError, match=said):
                look(seal.run)


@pytest.mark.parametrize("entry", ["../out", "/out", "other/manifest.json", "0000000000000000/../../out", "a\\b"])
def test_an_archive_by_somebody_else_is_not_unpacked(tmp_path: Path, entry: str) -> None:
    with zipfile.ZipFile(tmp_path / "it.zip", "w") as archive:
        archive.writestr(entry, "x")
    with (tmp_path / "it.zip").open("rb") as file, pytest.raises(BundleError):
        unpack(file, "0" * 16, tmp_path / "inside")
    assert [path.name for path in tmp_path.iterdir()] == ["it.zip"]


def test_a_compressed_archive_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "it.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0000000000000000/manifest.json", b"\0" * 1_000_000)
    with (tmp_path / "it.zip").open("rb") as file, pytest.raises(BundleError, match="not one of ours"):
        unpack(file, "0" * 16, tmp_path / "inside")


def _crash(root: Path, bundle: Path) -> None:
    def die(*_: object) -> None:
        os._exit(9)

    Path.rename = die  # type: ignore[assignment,method-assign]
    open_evidence(str(root)).put(bundle)


def test_a_put_that_was_killed_leaves_nothing_that_counts_and_the_next_one_clears_up(tmp_path: Path) -> None:
    bundle, root = made(tmp_path / "a"), tmp_path / "evidence"
    worker = multiprocessing.get_context("spawn").Process(target=_crash, args=(root, bundle))
    worker.start()
    worker.join(timeout=300)
    assert worker.exitcode == 9
    store = open_evidence(str(root))
    assert list(store.runs()) == []
    assert len(list((root / ".incoming").glob("*.partial"))) == 1
    run = store.put(bundle).run
    assert [path.name for path in (root / ".incoming").iterdir()] == [".lock"]
    assert list(store.runs()) == [run]


def test_a_place_that_cannot_be_written_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EvidenceError, match=r"the evidence store .*file fails: .*; make it readable"):
        open_evidence(str(tmp_path / "file")).put(made(tmp_path / "a"))


def test_a_bucket_that_is_not_there_is_told_with_what_to_do(tmp_path: Path, s3: str) -> None:
    place = s3.replace("evidence-", "absent-")
    with pytest.raises(EvidenceError, match=r"the evidence store s3://absent-.* fails: .*; check its address"):
        open_evidence(place).put(made(tmp_path / "a"))


@pytest.mark.parametrize("place", ["s3://", "gs://bucket", "http://host.example/evidence"])
def test_a_place_of_no_known_kind_is_refused(place: str) -> None:
    with pytest.raises(ConfigurationError):
        open_evidence(place)


def test_evidence_is_for_its_owner_alone(tmp_path: Path) -> None:
    run = open_evidence(str(tmp_path / "evidence")).put(GOLDEN / "pth-beacon").run
    assert (tmp_path / "evidence" / run[:2] / run).stat().st_mode & 0o077 == 0
    shutil.rmtree(tmp_path / "evidence")


def test_an_upload_is_kept_for_all_hosts(store: EvidenceStore, tmp_path: Path) -> None:
    file = tmp_path / "thing.whl"
    file.write_bytes(b"wheel")
    digest = hashlib.sha256(b"wheel").hexdigest()
    assert not store.keeps_upload(digest)
    for _ in range(2):
        store.keep_upload(file, digest)
        assert store.keeps_upload(digest)
    file.unlink()
    target = tmp_path / "elsewhere" / "thing-1.0-py3-none-any.whl"
    store.fetch_upload(digest, target)
    assert target.read_bytes() == b"wheel"
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    assert list(store.runs()) == []


def test_an_upload_that_is_not_kept_is_told(store: EvidenceStore, tmp_path: Path) -> None:
    with pytest.raises(EvidenceMissingError, match="submit the file again"):
        store.fetch_upload("0" * 64, tmp_path / "x.whl")
    with pytest.raises(UsageError):
        store.fetch_upload("../../etc/passwd", tmp_path / "x.whl")
    assert list(tmp_path.glob("x*")) == []
