"""Receives one file from a form, straight to disk: neither its size nor its content costs memory."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import tempfile
from http import HTTPStatus
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from sandbox.api.problems import ProblemError
from sandbox.errors import IntakeError
from sandbox.intake.archive import check_kind

if TYPE_CHECKING:
    from starlette.requests import Request

    from sandbox.intake.archive import Choice

FIELD: Final = "file"
SPARE: Final = 64 << 20
"""Bytes that uploads leave free on the disk, where the database may be too."""
_WRITE: Final = 1024**2
"""Bytes that are gathered before they are written."""
_MAX_HEADERS: Final = 8
_MAX_HEADER: Final = 1024
_HINT: Final = f"send multipart/form-data with one field, {FIELD!r}, that holds a wheel or an sdist with its file name"


class Received:
    """A file that has come in, under a name of its own until it is kept."""

    def __init__(self, path: Path, filename: str, sha256: str) -> None:
        self.path = path
        self.filename = filename
        self.sha256 = sha256


async def receive(request: Request, directory: Path, artefact: Choice) -> Received:
    """Receive the file of a form.

    Args:
        request: Its body must be unread; the middleware bounds it.
        directory: Where the file is put, as `.incoming-…`; made when missing. The caller removes it.
        artefact: What it has to be, by its name.

    Raises:
        ProblemError: It is no such form (415, 422), or the disk is full (507).
    """
    kind, parameters = parse_options_header(request.headers.get("content-type"))
    boundary = parameters.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "media-type", f"this is no form; {_HINT}")
    path: Path | None = None
    try:
        descriptor, name = await asyncio.to_thread(_incoming, directory)
        path = Path(name)
        with os.fdopen(descriptor, "wb") as stream:
            form = _Form(stream, boundary, artefact)
            async for chunk in request.stream():
                form.feed(chunk)
                if form.gathered >= _WRITE:
                    await asyncio.to_thread(form.write)
            await asyncio.to_thread(form.write)
            filename = form.finish()
        return Received(path, filename, form.digest.hexdigest())
    except BaseException as error:
        if path is not None:
            path.unlink(missing_ok=True)
        raise _told(error) from error


def _incoming(directory: Path) -> tuple[int, str]:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return tempfile.mkstemp(dir=directory, prefix=".incoming-")


def _told(error: BaseException) -> BaseException:
    """What to tell the sender."""
    if isinstance(error, FormParserError):
        return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "form", f"the form is broken; {_HINT}")
    if isinstance(error, IntakeError):
        return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "artefact", str(error))
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        detail = "there is no room for uploads on the server; try again later, or tell its administrator"
        return ProblemError(HTTPStatus.INSUFFICIENT_STORAGE, "disk-full", detail, headers={"Retry-After": "300"})
    return error


class _Form:
    """Takes a form apart as it comes."""

    def __init__(self, stream: IO[bytes], boundary: bytes, artefact: Choice) -> None:
        self.digest = hashlib.sha256()
        self._artefact = artefact
        self._stream = stream
        self._pending = bytearray()
        self._filename = ""
        self._ended = False
        self._header = (bytearray(), bytearray())
        self._headers: dict[bytes, bytes] = {}
        self._parser = MultipartParser(
            boundary,
            {
                "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
                "on_header_end": self._header_ended,
                "on_headers_finished": self._headers_ended,
                "on_part_data": lambda data, start, end: self._pending.extend(data[start:end]),
                "on_end": self._form_ended,
            },
            max_header_count=_MAX_HEADERS,
            max_header_size=_MAX_HEADER,
        )

    @property
    def gathered(self) -> int:
        """Bytes that wait to be written."""
        return len(self._pending)

    def feed(self, chunk: bytes) -> None:
        """Take in the next bytes of the form.

        Raises:
            FormParserError: It is no form.
            IntakeError: The file's name is not that of an artefact, or of another kind than it has to be.
            ProblemError: There is a second field, or none that is a file.
        """
        self._parser.write(chunk)

    def write(self) -> None:
        """Write what waits.

        Raises:
            OSError: The disk is full, or would be but for `SPARE`: many at a time may each have seen room for theirs.
        """
        disk = os.fstatvfs(self._stream.fileno())
        if disk.f_bavail * disk.f_frsize < SPARE + len(self._pending):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.digest.update(self._pending)
        self._stream.write(self._pending)
        self._pending.clear()

    def finish(self) -> str:
        """The file's name, once all has come.

        Raises:
            ProblemError: The form ended early.
        """
        if not self._ended or not self._filename:
            raise _wrong("the form ended before its file did")
        return self._filename

    def _header_ended(self) -> None:
        name, value = self._header
        self._headers[bytes(name).lower()] = bytes(value)
        self._header = (bytearray(), bytearray())

    def _headers_ended(self) -> None:
        disposition, parameters = parse_options_header(self._headers.get(b"content-disposition"))
        self._headers = {}
        if self._filename:
            raise _wrong("the form has a second field")
        if disposition != b"form-data" or parameters.get(b"name") != FIELD.encode() or b"filename" not in parameters:
            raise _wrong("the form's field is not a file of the expected name")
        filename = parameters[b"filename"].decode("utf-8", "replace")
        # Refused by its name before anything of it is written.
        check_kind(filename, self._artefact)
        self._filename = filename

    def _form_ended(self) -> None:
        self._ended = True


def _wrong(what: str) -> ProblemError:
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "form", f"{what}; {_HINT}")
