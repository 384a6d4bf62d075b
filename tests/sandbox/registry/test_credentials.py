from __future__ import annotations

import pytest

from sandbox.registry.credentials import Credentials, split_credentials

ONE, TWO, NETRC = ("one", "1"), ("two", "2"), ("netrc", "3")
CREDENTIALS = Credentials(
    {
        "https://index.example/team-1/simple": ONE,
        "https://index.example/team-2/simple": TWO,
        "https://open.example/simple": None,
        "http://plain.example:8080/simple": None,
    },
    {"index.example": NETRC, "open.example": NETRC, "plain.example": NETRC},
)


@pytest.mark.parametrize(
    ("url", "pair"),
    [
        ("https://index.example/team-1/simple/thing/", ONE),
        ("https://index.example/team-2/simple/thing/", TWO),
        ("https://index.example/team-2/files/thing-1.whl", TWO),
        ("http://index.example/team-1/simple/thing/", None),
        ("https://index.example:8443/team-1/simple/thing/", NETRC),
        ("https://open.example/simple/thing/", NETRC),
        ("http://open.example/simple/thing/", None),
        ("http://plain.example:8080/simple/thing/", NETRC),
        ("http://plain.example/simple/thing/", None),
        ("https://plain.example/simple/thing/", NETRC),
        ("https://files.example/thing-1.whl", None),
    ],
)
def test_who_gets_which(url: str, pair: tuple[str, str] | None) -> None:
    assert CREDENTIALS.find(url) == pair


def test_addresses_are_freed_of_them() -> None:
    split = split_credentials("https://me:p%40ss@index.example:443/simple/")
    assert split == ("https://index.example/simple", ("me", "p@ss"))
    assert split_credentials("https://index.example/simple/") == ("https://index.example/simple", None)
