from __future__ import annotations

import pytest

from sandbox.registry.links import FileLink
from sandbox.registry.policy import IndexedFile, IndexPage, Policy, Refusal

PRIMARY = "https://mirror.example/root/simple"
EXTRA = "http://extra.example:8080/simple"
POD = "https://index.example/simple"
FILE = "https://files.example/p/thing-1.0+local.whl"


@pytest.fixture
def policy() -> Policy:
    policy = Policy((PRIMARY, EXTRA), POD)
    policy.learn([FileLink(FILE, "a" * 64, "b" * 64)])
    return policy


@pytest.mark.parametrize(
    ("url", "upstream"),
    [
        (f"{POD}/requests/", f"{PRIMARY}/requests/"),
        (f"{POD}/Zope.Interface", f"{PRIMARY}/zope-interface/"),
        (f"{PRIMARY}/requests/", f"{PRIMARY}/requests/"),
        (f"{EXTRA}/requests/", f"{EXTRA}/requests/"),
        ("https://INDEX.example:443/simple/six/", f"{PRIMARY}/six/"),
    ],
)
def test_index_pages(policy: Policy, url: str, upstream: str) -> None:
    assert policy.decide("GET", url) == IndexPage(upstream)
    assert policy.decide("HEAD", url) == IndexPage(upstream)


def test_known_files_and_their_metadata(policy: Policy) -> None:
    assert policy.decide("GET", FILE) == IndexedFile(FILE, "a" * 64)
    quoted = FILE.replace("+", "%2B")
    assert policy.decide("GET", quoted) == IndexedFile(FILE, "a" * 64)
    assert policy.decide("GET", f"{FILE}.metadata") == IndexedFile(f"{FILE}.metadata", "b" * 64, metadata=True)


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("POST", f"{POD}/requests/"),
        ("PUT", FILE),
        ("GET", f"{POD}/"),
        ("GET", POD),
        ("GET", f"{POD}/requests/?leak=secret"),
        ("GET", f"{POD}/requests/../../other"),
        ("GET", f"{POD}/..%2f..%2fadmin/"),
        ("GET", f"{POD}/%2e%2e/"),
        ("GET", f"{POD}/-bad-/"),
        ("GET", f"{POD}/{'a' * 300}/"),
        ("GET", f"{POD}/a/b/"),
        ("GET", "https://index.example:8443/simple/requests/"),
        ("GET", "http://index.example/simple/requests/"),
        ("GET", "https://user:pw@index.example/simple/requests/"),
        ("GET", "https://index.example@evil.test/simple/requests/"),
        ("GET", "https://evil.test/simple/requests/"),
        ("GET", "https://index.example/simplerequests/"),
        ("GET", f"{FILE}?leak=secret"),
        ("GET", f"{FILE}.metadata.metadata"),
        ("GET", "https://files.example/p/other.whl"),
        ("GET", "https://files.example:444/p/thing-1.0+local.whl"),
        ("GET", "file:///etc/passwd"),
        ("GET", "https://files.example/" + "a" * 5000),
        ("GET", ""),
    ],
)
def test_everything_else_is_refused(policy: Policy, method: str, url: str) -> None:
    decision = policy.decide(method, url)
    assert isinstance(decision, Refusal)
    assert decision.reason
