"""Honest archives are understood, hostile ones refused with a reason, and nothing is ever unpacked."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import struct
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.errors import IntakeError
from sandbox.intake import members
from sandbox.intake.archive import Inspection, identify, inspect
from sandbox.intake.target import Target

from .building import METADATA, SDIST, WHEEL, gzipped, sdist, tar_entry, wheel, zip_entry

if TYPE_CHECKING:
    from pathlib import Path

TARGET = Target("3.11.2")


def looked(path: Path) -> Inspection:
    before = sorted(os.walk(path.parent))
    try:
        return inspect(path, path.name, TARGET)
    finally:
        assert sorted(os.walk(path.parent)) == before


def refusal(path: Path) -> str:
    with pytest.raises(IntakeError) as caught:
        looked(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    return str(caught.value)


def test_a_wheel_says_what_it_is(tmp_path: Path) -> None:
    inspection = looked(wheel(tmp_path / WHEEL))
    assert (inspection.identity.kind, inspection.identity.name, inspection.identity.version) == (
        "wheel",
        "thing",
        "1.0",
    )
    assert inspection.requirements.indexed == ("six>=1",)
    assert inspection.notes == ()


def test_an_sdist_says_what_it_is(tmp_path: Path) -> None:
    inspection = looked(sdist(tmp_path / SDIST))
    assert (inspection.identity.kind, inspection.identity.name, inspection.identity.version) == (
        "sdist",
        "thing",
        "1.0",
    )
    assert inspection.requirements.indexed == ("six>=1",)


def test_an_old_sdist_in_a_zip_is_understood(tmp_path: Path) -> None:
    path = tmp_path / "thing-1.0.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("thing-1.0/setup.py", "")
        archive.writestr("thing-1.0/PKG-INFO", METADATA)
    assert looked(path).requirements.indexed == ("six>=1",)


def test_requirements_of_an_old_sdist_come_from_its_egg_info(tmp_path: Path) -> None:
    requires = (
        b'six\n\n[:python_version < "3"]\nfutures\n\n[:sys_platform == "linux"]\nidna>=2\n\n'
        b'[tests]\npytest\n\n[tests:os_name == "posix"]\nnose\n'
    )
    for place in ("thing.egg-info", "src/thing.egg-info"):
        path = sdist(
            tmp_path / SDIST,
            tar_entry(f"thing-1.0/{place}/requires.txt", requires),
            tar_entry("thing-1.0/tests/deep/down/other.egg-info/requires.txt", b"wrong\n"),
            metadata="Metadata-Version: 1.1\nName: thing\nVersion: 1.0\n",
        )
        assert looked(path).requirements.indexed == ("six", "idna>=2")


def test_an_sdist_without_metadata_needs_nothing(tmp_path: Path) -> None:
    assert looked(sdist(tmp_path / SDIST, metadata=None)).requirements.indexed == ()


def test_requirements_are_evaluated_for_the_image_and_made_safe(tmp_path: Path) -> None:
    lines = [
        "Requires-Dist: plain",
        'Requires-Dist: marked[b, a]>=1,<2 ; python_version >= "3.8"',
        'Requires-Dist: windows ; sys_platform == "win32"',
        'Requires-Dist: extra-only ; extra == "dev"',
        "Requires-Dist: direct @ https://files.example/direct.whl",
        "Requires-Dist: --index-url=https://evil.test/simple",
        "Requires-Dist: -r /etc/passwd",
        "Requires-Dist: ./local",
        "Requires-Dist: nested ; " + "(" * 5_000 + 'os_name == "posix"' + ")" * 5_000,
        "Requires-Dist: plain",
    ]
    inspection = looked(wheel(tmp_path / WHEEL, metadata="Name: thing\nVersion: 1.0\n" + "\n".join(lines) + "\n"))
    assert inspection.requirements.indexed == ("plain", "marked[a,b]<2,>=1")
    notes = " ".join(inspection.notes)
    assert "'--index-url=https://evil.test/simple' cannot be read" in notes
    assert "names an address of its own" in notes
    assert len(inspection.notes) == 5


def test_what_metadata_says_differently_is_noted(tmp_path: Path) -> None:
    text = "Metadata-Version: 2.1\nName: other\nVersion: 2\nRequires-Python: >=3.12\n"
    notes = looked(wheel(tmp_path / WHEEL, metadata=text)).notes
    assert notes == (
        "its metadata calls it 'other'",
        "its metadata gives version '2'",
        "it asks for Python '>=3.12'; the image has 3.11.2",
    )


def test_metadata_that_is_no_text_counts_as_not_said(tmp_path: Path) -> None:
    path = wheel(tmp_path / WHEEL, metadata="\udcff".encode("utf-8", "surrogatepass").decode("latin-1") * 50)
    assert looked(path).requirements.indexed == ()


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("thing-1.0.tar.bz2", "is not an artefact"),
        ("thing.txt", "is not an artefact"),
        # In build tags and platforms the library takes anything.
        ("thing-1.0-1\0-py3-none-any.whl", "is not an artefact"),
        ("thing-1.0-1\x1b[2J-py3-none-any.whl", "is not an artefact"),
        ("thing-1.0-1\u202e-py3-none-any.whl", "is not an artefact"),
        ("thing-1.0-py3-none-any\n.whl", "is not an artefact"),
        (f"thing-1.0-1{'é' * 220}-py3-none-any.whl", "is not an artefact"),
        ("thing.whl", "is not a wheel's name"),
        ("thing-1.0-py3-none.whl", "is not a wheel's name"),
        ("thing.tar.gz", "is not an sdist's name"),
        ("thing-one.tar.gz", "is not an sdist's name"),
        ("a" * 300 + "-1.0.tar.gz", "is not an artefact"),
    ],
)
def test_a_file_name_that_says_nothing_is_refused(filename: str, expected: str) -> None:
    with pytest.raises(IntakeError, match=expected):
        identify(filename)


BAD_NAMES = [
    ("/etc/passwd", "absolute name"),
    ("thing-1.0/../../out", "leads out of it"),
    ("..", "leads out of it"),
    ("thing-1.0\\..\\out", "backslash or NUL"),
    ("thing-1.0/" + "a" * 300, "too long"),
    ("thing-1.0/" + "a/" * 600 + "b", "too long"),
]


@pytest.mark.parametrize(("name", "expected"), BAD_NAMES)
def test_hostile_names_in_a_wheel_are_refused(tmp_path: Path, name: str, expected: str) -> None:
    assert expected in refusal(wheel(tmp_path / WHEEL, (zip_entry(name), b"x")))


@pytest.mark.parametrize(("name", "expected"), BAD_NAMES)
def test_hostile_names_in_an_sdist_are_refused(tmp_path: Path, name: str, expected: str) -> None:
    assert expected in refusal(sdist(tmp_path / SDIST, tar_entry(name, b"x")))


def test_a_nul_in_a_name_is_refused(tmp_path: Path) -> None:
    path = wheel(tmp_path / WHEEL, (zip_entry("abcXdef"), b"x"))
    path.write_bytes(path.read_bytes().replace(b"abcXdef", b"abc\0def"))
    assert "backslash or NUL" in refusal(path)


def test_the_same_name_twice_is_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = wheel(tmp_path / WHEEL, (zip_entry("twice"), b"a"), (zip_entry("twice"), b"b"))
    assert "'twice' twice" in refusal(path)
    path = sdist(tmp_path / SDIST, tar_entry("thing-1.0/a", b"a"), tar_entry("./thing-1.0//a", b"b"))
    assert "'thing-1.0/a' twice" in refusal(path)


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_and_pipes_in_an_sdist_are_refused(tmp_path: Path, kind: bytes) -> None:
    assert "device or pipe" in refusal(sdist(tmp_path / SDIST, tar_entry("thing-1.0/dev", kind=kind)))


@pytest.mark.parametrize("kind", [stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_devices_and_pipes_in_a_wheel_are_refused(tmp_path: Path, kind: int) -> None:
    assert "device, pipe or socket" in refusal(wheel(tmp_path / WHEEL, (zip_entry("dev", kind | 0o600), b"")))


@pytest.mark.parametrize(
    ("place", "target"),
    [
        ("thing-1.0/link", "/etc/passwd"),
        ("thing-1.0/link", "../out"),
        ("thing-1.0/a/link", "../../out"),
        ("thing-1.0/link", "a/../../out"),
        ("thing-1.0/link", "a\\b"),
        ("link", ".."),
    ],
)
def test_links_that_lead_out_are_refused(tmp_path: Path, place: str, target: str) -> None:
    entry = tar_entry(place, kind=tarfile.SYMTYPE, link=target)
    assert "leads out of it" in refusal(sdist(tmp_path / SDIST, entry))
    assert "leads out of it" in refusal(wheel(tmp_path / WHEEL, (zip_entry(place, 0o120777), target.encode())))


def test_hard_links_that_lead_out_are_refused(tmp_path: Path) -> None:
    for target in ("/etc/shadow", "../x", "thing-1.0/../../x"):
        entry = tar_entry("thing-1.0/link", kind=tarfile.LNKTYPE, link=target)
        assert "leads out of it" in refusal(sdist(tmp_path / SDIST, entry))


def test_links_that_stay_inside_are_accepted(tmp_path: Path) -> None:
    path = sdist(
        tmp_path / SDIST,
        tar_entry("thing-1.0/docs/readme", kind=tarfile.SYMTYPE, link="../setup.py"),
        tar_entry("thing-1.0/here", kind=tarfile.SYMTYPE, link="docs"),
        tar_entry("thing-1.0/same", kind=tarfile.LNKTYPE, link="thing-1.0/setup.py"),
    )
    assert looked(path).identity.name == "thing"


def test_a_member_below_a_link_is_refused(tmp_path: Path) -> None:
    path = sdist(
        tmp_path / SDIST,
        tar_entry("thing-1.0/here/deep/x", b"x"),
        tar_entry("thing-1.0/here", kind=tarfile.SYMTYPE, link="docs"),
    )
    assert "below a link" in refusal(path)


def test_bombs_are_refused(tmp_path: Path) -> None:
    zeros = bytes(30 * 1024 * 1024)
    assert "decompression bomb" in refusal(wheel(tmp_path / WHEEL, (zip_entry("zeros"), zeros)))
    assert "decompression bomb" in refusal(sdist(tmp_path / SDIST, tar_entry("thing-1.0/zeros", zeros)))


def test_a_tar_that_hides_its_size_is_measured(tmp_path: Path) -> None:
    # No member at all: tarfile alone would unpack everything before it said so.
    entry, _ = tar_entry("thing-1.0/a", kind=tarfile.XHDTYPE)
    entry.size = 30 * 1024 * 1024
    assert "header in the archive is larger" in refusal(gzipped(tmp_path / SDIST, entry.tobuf() + bytes(entry.size)))


def test_a_sparse_member_counts_with_what_it_unpacks_to(tmp_path: Path) -> None:
    size = str(3 * 1024**3)
    entry = tarfile.TarInfo("thing-1.0/sparse")
    entry.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.size": size,
        "GNU.sparse.map": f"{size},0",
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(tar_entry("thing-1.0/setup.py", b"")[0])
        archive.addfile(entry)
    assert "unpacks to more than" in refusal(gzipped(tmp_path / SDIST, buffer.getvalue()))


def test_small_archives_may_compress_as_well_as_they_like(tmp_path: Path) -> None:
    assert looked(wheel(tmp_path / WHEEL, (zip_entry("zeros"), bytes(5 * 1024 * 1024)))).identity.name == "thing"


def test_too_many_members_are_refused_before_zipfile_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members, "MAX_MEMBERS", 20)
    extra = [(zip_entry(f"f{number}"), b"") for number in range(30)]
    path = wheel(tmp_path / WHEEL, *extra)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    assert "more than 20 members" in refusal(path)
    path = sdist(tmp_path / SDIST, *[tar_entry(f"thing-1.0/{number}") for number in range(30)])
    assert "more than 20 members" in refusal(path)


def test_an_encrypted_wheel_is_refused(tmp_path: Path) -> None:
    path = wheel(tmp_path / WHEEL)
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\1\2")
    struct.pack_into("<H", data, at + 8, 1)
    path.write_bytes(data)
    assert "'thing.py' in the archive is encrypted" in refusal(path)


def test_members_that_share_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / WHEEL
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.py", b"x" * 1000)
        archive.writestr("b.py", b"x" * 1000)
    data = bytearray(path.read_bytes())
    first = data.index(b"PK\1\2")
    second = data.index(b"PK\1\2", first + 1)
    struct.pack_into("<L", data, second + 42, 0)
    path.write_bytes(data)
    assert "share bytes" in refusal(path)


def test_a_member_with_two_names_is_refused(tmp_path: Path) -> None:
    path = wheel(tmp_path / WHEEL)
    path.write_bytes(path.read_bytes().replace(b"thing.py", b"other.py", 1))
    assert "two names for 'thing.py'" in refusal(path)


@pytest.mark.parametrize("filename", [WHEEL, SDIST, "thing-1.0.zip"])
@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\5\6", b"\x1f\x8b\x08\0", b"PK\5\6" + b"\xff" * 40])
def test_what_is_no_archive_is_refused(tmp_path: Path, filename: str, content: bytes) -> None:
    path = tmp_path / filename
    path.write_bytes(content)
    said = refusal(path)
    assert said.startswith(f"'{filename}': ")
    assert "download or build it again" in said


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_whose_bytes_are_damaged_is_refused(tmp_path: Path, method: int) -> None:
    path = tmp_path / WHEEL
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("thing-1.0.dist-info/METADATA", METADATA)
    content = bytearray(path.read_bytes())
    end = content.index(b"PK\1\2")
    content[end - 20 : end] = bytes(255 - byte for byte in content[end - 20 : end])
    path.write_bytes(content)
    assert "download or build it again" in refusal(path)


def test_an_empty_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / WHEEL
    with zipfile.ZipFile(path, "w"):
        pass
    assert "the archive is empty" in refusal(path)
    assert "the archive is empty" in refusal(gzipped(tmp_path / SDIST, bytes(10_240)))


def test_half_a_download_is_refused(tmp_path: Path) -> None:
    noise = os.urandom(200_000)
    for path in (
        wheel(tmp_path / WHEEL, (zip_entry("noise"), noise)),
        sdist(tmp_path / SDIST, tar_entry("thing-1.0/n", noise)),
    ):
        path.write_bytes(path.read_bytes()[:100_000])
        assert "download or build it again" in refusal(path)


def test_metadata_beyond_its_bound_is_refused(tmp_path: Path) -> None:
    metadata = METADATA + os.urandom(700_000).hex()
    assert "larger than 1048576 bytes" in refusal(wheel(tmp_path / WHEEL, metadata=metadata))
    assert "larger than 1048576 bytes" in refusal(sdist(tmp_path / SDIST, metadata=metadata))


def test_a_wheel_has_exactly_one_dist_info_and_it_is_its_own(tmp_path: Path) -> None:
    extra = (zip_entry("more-2.dist-info/METADATA"), b"")
    assert "this one has 2" in refusal(wheel(tmp_path / WHEEL, extra))
    assert "holds 'other'" in refusal(wheel(tmp_path / WHEEL, info="other-1.0.dist-info"))
    assert "holds no METADATA" in refusal(wheel(tmp_path / WHEEL, metadata=None))


def test_an_sdist_has_one_directory_at_its_top(tmp_path: Path) -> None:
    text = refusal(sdist(tmp_path / SDIST, tar_entry("second/x", b"")))
    assert "this one has second, thing-1.0" in text


def test_names_in_messages_cannot_reach_the_terminal(tmp_path: Path) -> None:
    text = refusal(sdist(tmp_path / SDIST, tar_entry("/\x1b[2J\u202e" + "x" * 200)))
    assert text.isascii()
    assert text.isprintable()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_either_harmless_or_an_error_of_ours(tmp_path: Path, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from([wheel(tmp_path / WHEEL), sdist(tmp_path / SDIST)]))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with contextlib.suppress(IntakeError):
        assert inspect(path, path.name, TARGET).identity.name == "thing"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_tar_is_either_harmless_or_an_error_of_ours(tmp_path: Path, data: st.DataObject) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(tar_entry("thing-1.0/" + "é" * 90)[0])
        archive.addfile(tar_entry("thing-1.0/" + "l" * 200, kind=tarfile.SYMTYPE, link="x" * 120)[0])
    content = bytearray(buffer.getvalue()[:6_144])
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = gzipped(tmp_path / SDIST, bytes(content))
    with contextlib.suppress(IntakeError):
        assert inspect(path, path.name, TARGET).identity.name == "thing"
