from __future__ import annotations

import json

import pytest

from sandbox.registry.links import FileLink, canonical, parse_page

BASE = "https://index.example/simple/thing/"
SHA = "a" * 64


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("HTTPS://Files.Example:443/a/B.whl#sha256=1", "https://files.example/a/B.whl"),
        ("http://files.example:8080/x?y=1", "http://files.example:8080/x?y=1"),
        ("https://files.example", "https://files.example/"),
        ("https://files.example./x", "https://files.example/x"),
        ("http://[2001:DB8::1]/x", "http://[2001:db8::1]/x"),
        ("https://user:pw@files.example/x", ""),
        ("https://@files.example/x", ""),
        ("https://files.example:99999/x", ""),
        ("https://files.example:x/", ""),
        ("https://files.example\\@evil.test/x", ""),
        ("https://files.example/a b", ""),
        ("https://files.example/a\r\nHost: evil.test", ""),
        ("file:///etc/passwd", ""),
        ("https:///x", ""),
        ("https://[::1/x", ""),
        ("https://f\u00fcr.example/", ""),
    ],
)
def test_canonical(url: str, expected: str) -> None:
    assert canonical(url) == expected


def test_json_links_become_absolute_and_lose_credentials() -> None:
    body = json.dumps(
        {
            "meta": {"api-version": "1.1"},
            "files": [
                {"url": "../../f/thing-1.whl", "hashes": {"sha256": SHA}, "core-metadata": {"sha256": "b" * 64}},
                {"url": "https://me:secret@files.example/thing-2.whl", "hashes": {"sha256": "nonsense"}},
                {"url": 7},
                "garbage",
            ],
        },
    ).encode()
    page = parse_page(body, "application/vnd.pypi.simple.v1+json", BASE)
    assert page.files == (
        FileLink("https://index.example/f/thing-1.whl", SHA, "b" * 64),
        FileLink("https://files.example/thing-2.whl"),
    )
    assert b"secret" not in page.body
    assert json.loads(page.body)["files"][0]["url"] == "https://index.example/f/thing-1.whl"


def test_absolute_pages_are_not_touched() -> None:
    body = b'{"files": [ {"url": "https://files.example/a.whl"} ]}'
    assert parse_page(body, "application/json", BASE).body == body
    page = b'<a href="https://files.example/a.whl">a.whl</a>'
    assert parse_page(page, "text/html", BASE).body == page


def test_html_links_with_base_and_attributes() -> None:
    body = (
        f'<base href="/root/"><a href="t-1.tar.gz#sha256={SHA}" data-yanked data-requires-python="&gt;=3" '
        f'data-core-metadata="sha256={"c" * 64}">t-1 &amp; co</a><a>no link</a>'
    ).encode()
    page = parse_page(body, "text/html; charset=utf-8", BASE)
    assert page.files == (FileLink("https://index.example/root/t-1.tar.gz", SHA, "c" * 64),)
    assert f'href="https://index.example/root/t-1.tar.gz#sha256={SHA}"'.encode() in page.body
    assert b'data-requires-python="&gt;=3"' in page.body
    assert b" data-yanked" in page.body
    assert b">t-1 &amp; co</a>" in page.body
    assert b"<base" not in page.body


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"files": 3}', b"\xff"])
def test_broken_json_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_page(body, "application/vnd.pypi.simple.v1+json", BASE)
