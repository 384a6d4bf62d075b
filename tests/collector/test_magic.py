"""What a file is follows from its bytes."""

from __future__ import annotations

import bz2
import gzip
import importlib.util
import io
import lzma
import marshal
import pickle
import sqlite3
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from collector.magic import kind_of_content


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a", "b")
    return buffer.getvalue()


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    return buffer.getvalue()


def _database() -> bytes:
    with sqlite3.connect(":memory:") as database:
        database.execute("create table a(b)")
        return database.serialize()


REAL = {
    "elf": Path(sys.executable).resolve().read_bytes()[:512],
    "python-bytecode": importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(compile("a = 1", "a.py", "exec")),
    "zip": _zip(),
    "tar": _tar(),
    "gzip": gzip.compress(b"a"),
    "bzip2": bz2.compress(b"a"),
    "xz": lzma.compress(b"a"),
    "zstandard": zstandard.ZstdCompressor().compress(b"a"),
    "sqlite": _database(),
    "pickle": pickle.dumps({"a": [1, 2]}),
    "python": Path(__file__).read_bytes()[:512],
}


@pytest.mark.parametrize("kind", REAL)
def test_files_that_other_programs_made(kind: str) -> None:
    assert kind_of_content(REAL[kind]) == kind


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"", "empty"),
        (b"MZ\x90\0", "pe"),
        (b"#!/bin/sh\nid\n", "shell-script"),
        (b"#! /usr/bin/env -S bash -e\n", "shell-script"),
        (b"#!/home/dev/.venv/bin/python3.11\n", "python-script"),
        (b"#!/usr/bin/env node\n", "script"),
        (b"#!\n", "text"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\n", "private-key"),
        (b"note\n-----BEGIN RSA PRIVATE KEY-----\n", "private-key"),
        (b"-----BEGIN CERTIFICATE-----\n", "pem"),
        (b"ssh-ed25519 AAAA me@there\n", "pem"),
        ("grüezi\n".encode(), "text"),
        ("ü".encode()[:1], "text"),
        (b"\xff\xfe\xfd\xfc", "data"),
        (b"a\0b", "data"),
        (b"important things\n", "text"),
        (b"ab\r\ncdefgh", "text"),
    ],
)
def test_beginnings(head: bytes, kind: str) -> None:
    assert kind_of_content(head) == kind


@given(st.binary(max_size=600))
def test_any_bytes_are_something(head: bytes) -> None:
    assert kind_of_content(head)


def test_of_a_first_line_no_more_is_read_than_the_kernel_reads() -> None:
    # All splits of a megabyte of slashes would take days.
    assert kind_of_content(b"#!" + b"/" * (1 << 20)) == "text"
    assert kind_of_content(b"#!" + b"/" * 200 + b"bin/sh\n") == "shell-script"
