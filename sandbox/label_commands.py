"""What `fumehood store labels export|import` do."""

from __future__ import annotations

from itertools import islice
from typing import IO, TYPE_CHECKING, Final

import click
import msgspec

from collector.errors import SearchError
from collector.store.labels import RunLabel, check_label, every_label, restore_label
from sandbox.database import writing
from sandbox.errors import UsageError
from sandbox.service_commands import prepare
from sandbox.standard_output import write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox.config import Configuration

_MOST_LINE: Final = 64 * 1024
"""Bytes of a line. A note has at most 4 KiB, which JSON may make six times as long."""
_AT_ONCE: Final = 500
"""Labels in one transaction: others want to write as well."""


def export_labels(configuration: Configuration, output: Path | None) -> int:
    """Write all labels, one a line."""
    with prepare(configuration).connect() as connection:
        write((msgspec.json.encode(label) + b"\n" for label in every_label(connection)), output)
    return 0


def import_labels(configuration: Configuration, file: IO[bytes]) -> int:
    """Put labels of an export back."""
    engine = prepare(configuration)
    read = put = 0
    labels = _labels(file)
    while several := list(islice(labels, _AT_ONCE)):
        with writing(engine) as connection:
            put += sum(restore_label(connection, label) for label in several)
        read += len(several)
    click.echo(f"{put} labels put, {read - put} were there already", err=True)
    return 0


def _labels(file: IO[bytes]) -> Iterator[RunLabel]:
    number = 0
    while line := file.readline(_MOST_LINE):
        number += 1
        try:
            label = msgspec.json.decode(line, type=RunLabel)
            check_label(label.label)
        except (msgspec.DecodeError, SearchError, UnicodeDecodeError) as error:
            raise UsageError(
                f"line {number}: {error}; give what `fumehood store labels export` wrote (lines before may be taken "
                "already: the same import again does no harm)"
            ) from error
        yield label
