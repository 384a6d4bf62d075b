from __future__ import annotations

import pytest

from sandbox.gateway.answers import sinkhole
from sandbox.gateway.detect import Speech, classify
from sandbox.gateway.origin import Origin
from sandbox.gateway.request_target import Address, address_of

ORIGIN = Origin("192.0.2.7", 80, 4000)


@pytest.mark.parametrize(
    ("target", "accept", "content_type", "kind", "body"),
    [
        ("/i.sh?x=.py", "", "", "text/x-shellscript", b"#!/bin/sh\nexit 0\n"),
        ("/a.b/SETUP.PY", "", "", "text/x-python", b"pass\n"),
        ("/api", "application/json", "", "application/json", b"{}"),
        ("/api", "*/*", "application/json", "application/json", b"{}"),
        ("/", "text/html,*/*", "", "text/html", b"<!doctype html><title>ok</title>ok\n"),
        ("/x", "*/*", "", "text/plain", b"ok\n"),
        ("http://[", "", "", "text/plain", b"ok\n"),
    ],
)
def test_a_body_of_the_right_kind(target: str, accept: str, content_type: str, kind: str, body: bytes) -> None:
    answer = sinkhole(target, accept, content_type)
    assert (answer.status, answer.content_type, answer.body) == (200, kind, body)


def test_connectivity_checks_get_no_content() -> None:
    assert sinkhole("/generate_204", "", "").status == 204


@pytest.mark.parametrize(
    ("target", "header", "connect", "expected"),
    [
        ("/", "A.test:8080", False, Address("a.test", 8080)),
        ("/", "", False, Address("192.0.2.7")),
        ("/", "[2001:DB8::1]:80", False, Address("2001:db8::1", 80)),
        ("http://B.test./x", "a.test", False, Address("b.test")),
        ("http://u:p@b.test:81", "a.test", False, Address("b.test", 81)),
        ("c.test:443", "a.test", True, Address("c.test", 443)),
        ("/", "a.test:99999", False, Address("a.test")),
        ("/", "a b:c:d", False, Address("a b:c:d")),
    ],
)
def test_whom_a_request_is_for(target: str, header: str, *, connect: bool, expected: Address) -> None:
    assert address_of(target, header, ORIGIN, connect=connect) == expected


@pytest.mark.parametrize(
    ("data", "speech"),
    [
        (b"", None),
        (b"\x16", None),
        (b"\x16\x03", Speech.TLS),
        (b"\x16\x02", Speech.RAW),
        (b"GE", None),
        (b"GET ", None),
        (b"GET /", Speech.HTTP),
        (b"GET  ", Speech.RAW),
        (b"PROPFIN", None),
        (b"GETTING", Speech.RAW),
        (b"PRI * HTTP/2.0\r\n", Speech.RAW),
        (b"\x00\x00", Speech.RAW),
    ],
)
def test_first_bytes(data: bytes, speech: Speech | None) -> None:
    assert classify(data) is speech
