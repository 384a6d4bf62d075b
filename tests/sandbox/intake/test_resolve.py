"""From a purl or a path to the artefact, against a real index on loopback."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from sandbox.errors import IntakeError
from sandbox.intake import Artefact, PipConfiguration, read_pip_configuration, resolve

from .building import METADATA, SDIST, WHEEL, sdist, wheel

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Index


class Intake:
    """`resolve` with the test's own index and cache."""

    def __init__(self, configuration: PipConfiguration, cache: Path, index: Index) -> None:
        self.configuration = configuration
        self.cache = cache
        self.index = index

    def __call__(self, text: str, artefact: Any = "auto") -> Artefact:
        return resolve(
            text,
            artefact=artefact,
            configuration=self.configuration,
            cache=self.cache,
            copies=self.cache / "artefacts",
            python="3.11.2",
        )

    def refuses(self, text: str, artefact: Any = "auto") -> str:
        with pytest.raises(IntakeError) as caught:
            self(text, artefact)
        assert "\n" not in str(caught.value)
        return str(caught.value)


@pytest.fixture
def intake(configuration: PipConfiguration, tmp_path: Path, index: Index) -> Intake:
    return Intake(configuration, tmp_path / "cache", index)


def built(tmp_path: Path, filename: str, version: str = "1.0") -> bytes:
    make = wheel if filename.endswith(".whl") else sdist
    path = tmp_path / filename
    metadata = METADATA.replace("1.0", version)
    if make is wheel:
        wheel(path, metadata=metadata, info=f"thing-{version}.dist-info")
    else:
        sdist(path, metadata=metadata)
    return path.read_bytes()


@pytest.mark.parametrize("only_html", [False, True], ids=["pep691", "pep503"])
def test_a_purl_becomes_a_checked_private_copy(intake: Intake, tmp_path: Path, only_html: bool) -> None:
    data = built(tmp_path, WHEEL)
    intake.index.only_html = only_html
    intake.index.publish("thing", WHEEL, data, **{"requires-python": ">=3.8"})
    found = intake("pkg:pypi/Thing@1.0")
    assert found.path.read_bytes() == data
    assert found.path == tmp_path / "cache/artefacts" / found.sha256 / WHEEL
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert (found.kind, found.name, found.version, found.origin) == ("wheel", "thing", "1.0", "index")
    assert found.purl == "pkg:pypi/thing@1.0"
    assert found.requires == ("six>=1",)
    assert found.notes == ()
    assert found.package().purl == "pkg:pypi/thing@1.0"


def test_a_name_is_normalised_before_the_index_is_asked(intake: Intake, tmp_path: Path) -> None:
    intake.index.publish("thing", WHEEL, built(tmp_path, WHEEL))
    assert "'a-b-c'" in intake.refuses("pkg:pypi/A_.b--C")
    assert [path for path, _ in intake.index.asked] == ["/simple/a-b-c/"]


@pytest.mark.parametrize("only_html", [False, True], ids=["pep691", "pep503"])
def test_without_a_version_the_newest_final_release_that_fits_is_taken(
    intake: Intake, tmp_path: Path, only_html: bool
) -> None:
    intake.index.only_html = only_html
    publish = intake.index.publish
    publish("thing", "thing-1.9.tar.gz", built(tmp_path, "thing-1.9.tar.gz", "1.9"))
    publish("thing", "thing-1.10.tar.gz", built(tmp_path, "thing-1.10.tar.gz", "1.10"))
    publish("thing", "thing-2.0rc1.tar.gz")
    publish("thing", "thing-3.0.tar.gz", **{"requires-python": ">=3.12"})
    publish("thing", "thing-4.0.tar.gz", yanked="broken")
    publish("thing", "thing-5.0-cp313-cp313-win_amd64.whl")
    publish("thing", "other-9.0.tar.gz")
    publish("thing", "thing-9.0.exe")
    assert intake("pkg:pypi/thing").version == "1.10"


def test_a_pre_release_is_taken_when_there_is_nothing_else(intake: Intake, tmp_path: Path) -> None:
    intake.index.publish("thing", "thing-2.0rc1.tar.gz", built(tmp_path, "thing-2.0rc1.tar.gz", "2.0rc1"))
    assert intake("pkg:pypi/thing").version == "2.0rc1"


def test_the_wheel_that_fits_best_is_taken_and_either_kind_can_be_asked_for(intake: Intake, tmp_path: Path) -> None:
    names = [
        SDIST,
        WHEEL,
        "thing-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "thing-1.0-cp311-cp311-manylinux_2_40_x86_64.whl",
        "thing-1.0-cp311-cp311-musllinux_1_2_x86_64.whl",
        "thing-1.0-cp312-cp312-manylinux_2_17_x86_64.whl",
        "thing-1.0-cp311-cp311-macosx_11_0_arm64.whl",
    ]
    for name in names:
        intake.index.publish("thing", name, built(tmp_path, name))
    assert intake("pkg:pypi/thing").filename == names[2]
    assert intake("pkg:pypi/thing", "wheel").filename == names[2]
    assert intake("pkg:pypi/thing", "sdist").filename == SDIST


def test_auto_falls_back_to_the_sdist(intake: Intake, tmp_path: Path) -> None:
    intake.index.publish("thing", "thing-1.0-cp312-cp312-win_amd64.whl")
    intake.index.publish("thing", SDIST, built(tmp_path, SDIST))
    assert intake("pkg:pypi/thing").kind == "sdist"
    text = intake.refuses("pkg:pypi/thing", "wheel")
    assert "has no wheel for CPython 3.11.2 on Linux x86_64" in text
    assert "thing-1.0-cp312-cp312-win_amd64.whl" in text
    assert "--artefact auto" in text


def test_a_version_for_another_python_is_refused_with_what_it_needs(intake: Intake) -> None:
    intake.index.publish("thing", SDIST, **{"requires-python": ">=3.13"})
    text = intake.refuses("pkg:pypi/thing@1.0")
    assert "has no file for CPython 3.11.2" in text
    assert ">=3.13" in text


@pytest.mark.parametrize("only_html", [False, True], ids=["pep691", "pep503"])
def test_a_project_of_yanked_releases_needs_its_version_given(intake: Intake, tmp_path: Path, only_html: bool) -> None:
    intake.index.only_html = only_html
    intake.index.publish("thing", SDIST, built(tmp_path, SDIST), yanked="was\x1b stolen")
    text = intake.refuses("pkg:pypi/thing")
    assert "every release of thing is yanked" in text
    assert "pkg:pypi/thing@1.0" in text
    found = intake("pkg:pypi/thing@1.0")
    assert found.notes == ("this release is yanked: 'was\\x1b stolen'",)


def test_an_unknown_package_names_the_index_without_its_credentials(intake: Intake) -> None:
    secret = intake.index.url.replace("http://", "http://me:hunter2@")
    intake.configuration = msgspec.structs.replace(intake.configuration, index_url=secret)
    text = intake.refuses("pkg:pypi/thing")
    assert text == f"no package 'thing' on {intake.index.url}; check the name"


def test_an_unknown_version_lists_the_newest_there_are(intake: Intake) -> None:
    for number in range(12):
        intake.index.publish("thing", f"thing-1.{number}.tar.gz")
    assert "has no version 9; it has 1.11, 1.10, 1.9, 1.8, 1.7, 1.6, 1.5, 1.4 and 4 more" in intake.refuses(
        "pkg:pypi/thing@9"
    )


def test_a_file_with_another_digest_is_refused_and_not_kept(intake: Intake, tmp_path: Path) -> None:
    intake.index.publish("thing", SDIST, built(tmp_path, SDIST), hashes={"sha256": "0" * 64})
    assert "hash mismatch: 'thing-1.0.tar.gz'" in intake.refuses("pkg:pypi/thing")
    assert not (tmp_path / "cache/artefacts").exists()


def test_a_file_without_a_digest_is_taken_and_noted(intake: Intake, tmp_path: Path) -> None:
    intake.index.publish("thing", SDIST, built(tmp_path, SDIST), hashes={"md5": "0" * 32})
    assert "was not verified" in intake("pkg:pypi/thing").notes[0]


def test_a_file_that_the_index_names_and_does_not_have(intake: Intake, tmp_path: Path) -> None:
    intake.index.publish("thing", SDIST, built(tmp_path, SDIST))
    del intake.index.answers[f"/files/{SDIST}"]
    assert "does not have 'thing-1.0.tar.gz'" in intake.refuses("pkg:pypi/thing")


def test_a_name_with_a_path_in_it_never_reaches_the_disk(intake: Intake) -> None:
    intake.index.publish("thing", "../../thing-1.0.tar.gz")
    assert "no wheel and no sdist" in intake.refuses("pkg:pypi/thing") or "not an artefact" in intake.refuses(
        "pkg:pypi/thing"
    )
    assert not [path for path, _ in intake.index.asked if path.startswith("/files/")]


def test_an_index_that_is_not_there_is_named(intake: Intake) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    gone = f"http://127.0.0.1:{port}/simple"
    intake.configuration = msgspec.structs.replace(intake.configuration, index_url=gone)
    text = intake.refuses("pkg:pypi/thing")
    assert text.startswith(f"the package index {gone} cannot be asked")
    assert "PIP_INDEX_URL" in text


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((500, "text/plain", b"oops"), "cannot be asked"),
        ((403, "text/plain", b"no"), "refuses us"),
        ((200, "application/json", b"[]"), "check"),
        ((200, "application/json", b'{"files": [{"filename": 1}]}'), "check"),
        ((200, "text/html", b"<html>Please log in</html>"), "nothing to analyse"),
    ],
)
def test_an_index_that_answers_badly_is_an_error(intake: Intake, answer: tuple[int, str, bytes], expected: str) -> None:
    intake.index.answers["/simple/thing/"] = answer
    assert expected in intake.refuses("pkg:pypi/thing")


def test_all_indexes_are_taken_together_and_the_first_wins(intake: Intake, tmp_path: Path) -> None:
    data = built(tmp_path, SDIST)
    intake.index.publish("thing", SDIST, data)
    newer = built(tmp_path, "thing-2.0.tar.gz", "2.0")
    intake.index.answers["/files/thing-2.0.tar.gz"] = (200, "application/octet-stream", newer)
    files = [
        {"filename": SDIST, "url": "/files/none", "hashes": {}},
        {"filename": "thing-2.0.tar.gz", "url": "/files/thing-2.0.tar.gz", "hashes": {}},
    ]
    page = json.dumps({"meta": {"api-version": "1.0"}, "files": files}).encode()
    intake.index.answers["/extra/thing/"] = (200, "application/vnd.pypi.simple.v1+json", page)
    extra = intake.index.url.replace("/simple", "/extra")
    intake.configuration = msgspec.structs.replace(intake.configuration, extra_index_urls=(extra,))
    assert intake("pkg:pypi/thing@1.0").path.read_bytes() == data
    assert intake("pkg:pypi/thing").version == "2.0"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("six", "write pkg:pypi/six"),
        ("six==1.0", "write pkg:pypi/six@1.0"),
        ("six>=1.0", "write pkg:pypi/NAME@VERSION"),
        ("https://files.example/thing-1.0.tar.gz", "download the file and give its path"),
        ("pkg:pypi", "is not a purl; write pkg:pypi/NAME@VERSION"),
        ("pkg:npm/%40scope/name@1", "'npm' is not supported yet"),
        ("pkg:pypi/group/thing@1", "parts that a PyPI package has not"),
        ("pkg:pypi/thing@1?file_name=x", "parts that a PyPI package has not"),
        ("pkg:pypi/thing@one", "'one' is not a version"),
        ("pkg:pypi/-thing@1", "cannot be a package's name"),
        ("pkg:pypi/..%2F..%2Fetc@1", "cannot be a package's name"),
        ("none-1.0.tar.gz", "there is no file"),
        ("./nope.whl", "there is no file './nope.whl'; check the path"),
        ("dist/none.whl", "there is no file 'dist/none.whl'"),
    ],
)
def test_what_cannot_be_meant_is_explained(intake: Intake, text: str, expected: str) -> None:
    assert expected in intake.refuses(text)
    assert not intake.index.asked


def test_a_local_file_needs_no_index(tmp_path: Path) -> None:
    data = built(tmp_path, SDIST)
    configuration = PipConfiguration(index_url="", no_index=True)
    found = resolve(
        str(tmp_path / SDIST),
        configuration=configuration,
        cache=tmp_path / "cache",
        copies=tmp_path / "cache/artefacts",
        python="3.11.2",
    )
    assert (found.origin, found.purl, found.kind) == ("file", "pkg:pypi/thing@1.0", "sdist")
    assert found.path != tmp_path / SDIST
    assert found.path.read_bytes() == data
    # What the original becomes later does not matter any more.
    (tmp_path / SDIST).write_bytes(b"changed")
    assert found.path.read_bytes() == data
    assert (tmp_path / "cache/artefacts").stat().st_mode & 0o077 == 0


def test_a_local_file_is_only_ever_a_regular_file(intake: Intake, tmp_path: Path) -> None:
    built(tmp_path, WHEEL)
    link = tmp_path / "thing-2.0-py3-none-any.whl"
    link.symlink_to(tmp_path / WHEEL)
    assert "is a symbolic link" in intake.refuses(str(link))
    fifo = tmp_path / "thing-3.0.tar.gz"
    os.mkfifo(fifo)
    assert "is not a regular file" in intake.refuses(str(fifo))
    assert "is a directory" in intake.refuses(str(tmp_path))
    assert "no package is named; write pkg:pypi/NAME@VERSION" in intake.refuses("")
    text = tmp_path / "thing.txt"
    text.write_text("x")
    assert "give a wheel (.whl) or an sdist" in intake.refuses(str(text))
    assert not list((tmp_path / "cache").rglob("*.whl"))


def test_a_refused_archive_leaves_no_half_written_copy(intake: Intake, tmp_path: Path) -> None:
    (tmp_path / SDIST).write_bytes(b"not an archive")
    intake.refuses(str(tmp_path / SDIST))
    assert not list((tmp_path / "cache/artefacts").glob(".incoming-*"))


def test_a_pip_without_an_index_is_explained(intake: Intake) -> None:
    intake.configuration = msgspec.structs.replace(intake.configuration, no_index=True)
    assert "no-index" in intake.refuses("pkg:pypi/thing")
    intake.configuration = msgspec.structs.replace(intake.configuration, no_index=False, index_url="")
    assert "set PIP_INDEX_URL" in intake.refuses("pkg:pypi/thing")


@pytest.mark.registry
def test_six_comes_from_the_index_that_pip_is_configured_with(tmp_path: Path) -> None:
    found = resolve(
        "pkg:pypi/six@1.16.0",
        artefact="sdist",
        configuration=read_pip_configuration(),
        cache=tmp_path,
        copies=tmp_path / "copies",
        python="3.11.2",
    )
    assert found.filename == "six-1.16.0.tar.gz"
    assert found.requires == ()


def test_a_local_wheel_is_not_run_as_an_sdist(intake: Intake, tmp_path: Path) -> None:
    built(tmp_path, WHEEL)
    assert "is a wheel, not an sdist" in intake.refuses(str(tmp_path / WHEEL), "sdist")
