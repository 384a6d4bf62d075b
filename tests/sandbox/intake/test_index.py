"""Reading index pages, as the standards and as old servers write them."""

from __future__ import annotations

import json

import pytest
from packaging.tags import parse_tag

from sandbox.intake.index import parse_page
from sandbox.intake.target import Target

URL = "https://index.example/simple/thing/"
DIGEST = "ab" * 32


def test_a_json_page_is_read() -> None:
    files = [
        {"filename": "a-1.whl", "url": "../../a-1.whl", "hashes": {"sha256": DIGEST.upper()}, "requires-python": ">=3"},
        {"filename": "b-1.whl", "url": "https://files.example/b-1.whl", "hashes": {}, "yanked": "bad", "size": 3},
        {"filename": "c-1.whl", "url": "/c", "hashes": {"sha256": "short"}, "yanked": True, "requires-python": None},
        {"filename": "d-1.whl", "url": "file:///etc/passwd", "hashes": {}},
        {"filename": "e-1.whl", "url": "http://[broken", "hashes": {}},
    ]
    page = parse_page(json.dumps({"files": files, "versions": []}).encode(), "application/vnd.pypi.simple.v1+json", URL)
    assert [(file.filename, file.url) for file in page] == [
        ("a-1.whl", "https://index.example/a-1.whl"),
        ("b-1.whl", "https://files.example/b-1.whl"),
        ("c-1.whl", "https://index.example/c"),
    ]
    assert (page[0].sha256, page[0].requires_python, page[0].yanked) == (DIGEST, ">=3", False)
    assert (page[1].yanked, page[1].yanked_reason) == (True, "bad")
    assert (page[2].yanked, page[2].yanked_reason, page[2].sha256) == (True, "", "")


def test_an_html_page_is_read() -> None:
    body = f"""<!DOCTYPE html><html><head><base href="/files/"></head><body>
    <a href="a%2B1-1.tar.gz#sha256={DIGEST}" data-requires-python="&gt;=3.8,&lt;4">anything</a>
    <a href="https://files.example/b-1.tar.gz#md5=00" data-yanked>b</a>
    <a href="c-1.tar.gz" data-yanked="why &amp; how">c</a>
    <a>nothing</a><a href="javascript:alert(1)">x</a><a href="dir/">x</a>
    </body></html>"""
    page = parse_page(body.encode(), "text/html", URL)
    assert [(file.filename, file.url) for file in page] == [
        ("a+1-1.tar.gz", "https://index.example/files/a%2B1-1.tar.gz"),
        ("b-1.tar.gz", "https://files.example/b-1.tar.gz"),
        ("c-1.tar.gz", "https://index.example/files/c-1.tar.gz"),
    ]
    assert (page[0].sha256, page[0].requires_python, page[0].yanked) == (DIGEST, ">=3.8,<4", False)
    assert (page[1].sha256, page[1].yanked, page[1].yanked_reason) == ("", True, "")
    assert (page[2].yanked, page[2].yanked_reason) == (True, "why & how")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"files": 1}', b'{"files": [{}]}', b"\xff"])
def test_json_that_is_no_index_page_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_page(body, "application/json", URL)


@pytest.mark.parametrize(
    ("tag", "fits"),
    [
        ("py3-none-any", True),
        ("py2.py3-none-any", True),
        ("py311-none-any", True),
        ("py312-none-any", False),
        ("cp311-cp311-manylinux_2_36_x86_64", True),
        ("cp311-cp311-manylinux_2_37_x86_64", False),
        ("cp311-cp311-manylinux2014_x86_64", True),
        ("cp311-cp311-manylinux1_x86_64", True),
        ("cp37-abi3-manylinux2010_x86_64", True),
        ("cp312-abi3-manylinux2014_x86_64", False),
        ("cp311-cp311-linux_x86_64", True),
        ("cp311-cp311-manylinux2014_aarch64", False),
        ("cp311-cp311-musllinux_1_1_x86_64", False),
        ("cp311-none-win_amd64", False),
    ],
)
def test_which_wheels_fit_the_image(tag: str, fits: bool) -> None:

    assert (Target("3.11.2").rank(parse_tag(tag)) is not None) is fits


def test_wheels_built_for_the_interpreter_come_before_pure_ones() -> None:

    target = Target("3.11.2")
    tags = ["cp311-cp311-manylinux_2_28_x86_64", "cp311-abi3-manylinux2014_x86_64", "py3-none-any"]
    ranks = [target.rank(parse_tag(tag)) for tag in tags]
    assert None not in ranks
    assert ranks == sorted(ranks, key=lambda rank: rank or 0)


def test_a_requires_python_that_nobody_can_read_does_not_count() -> None:
    target = Target("3.11.2")
    assert target.accepts(">=3.8,!=3.9.*")
    assert target.accepts("")
    assert target.accepts("three")
    assert not target.accepts("<3.11")
    assert not target.accepts(">=3.11.3")
