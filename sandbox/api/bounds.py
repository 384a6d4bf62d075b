"""Around every request: an id, a line in the log, bounds of size and time, and headers that keep browsers careful."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import structlog
from starlette.requests import ClientDisconnect

from sandbox.api.problems import ProblemError, answer, fault

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY: Final = 1024**2
"""Bytes of a body that is not an upload."""
_IDLE_S: Final = 30
"""A sender that sends nothing for so long is not waited for."""
_WHOLE_S: Final = 60
_WHOLE_UPLOAD_S: Final = 3600
"""A body that is not whole after so long is not waited for, however steadily it drips."""
_ID: Final = re.compile(r"[A-Za-z0-9_-]{8,64}")
_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
_log = structlog.get_logger(__name__)


class Bounds:
    """ASGI middleware; the outermost, so that nothing is answered without it."""

    def __init__(self, app: ASGIApp, uploads: frozenset[str], max_upload: int) -> None:
        """Bound requests.

        Args:
            app: What answers.
            uploads: Paths whose bodies are uploads.
            max_upload: Bytes of an upload's body.
        """
        self._app = app
        self._uploads = uploads
        self._max_upload = max_upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass on what is none."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        given = headers.get(b"x-request-id", "")
        request_id = given if _ID.fullmatch(given) else secrets.token_hex(8)
        scope["fumehood.request_id"] = request_id
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self._bounded(scope, receive, _Sender(send, request_id), headers.get(b"content-length", "0"))

    async def _bounded(self, scope: Scope, receive: Receive, sender: _Sender, length: str) -> None:
        upload = scope["path"] in self._uploads
        limit = self._max_upload if upload else MAX_BODY
        began = time.monotonic()
        try:
            _check_length(length, limit)
            await self._app(scope, _bounded_receive(receive, limit, _WHOLE_UPLOAD_S if upload else _WHOLE_S), sender)
        except ProblemError as error:
            # The body was too much or too slow, perhaps after the answer had begun; then the connection just ends.
            if not sender.begun:
                said = answer(error.status_code, error.kind, error.detail, sender.request_id, headers=error.headers)
                await said(scope, receive, sender)
        except ClientDisconnect:
            # Nobody is left to be answered.
            _log.info("the sender left", path=scope["path"][:200])
        except Exception as error:
            # The boundary of a request: whatever it was is our fault, logged, and told as a problem like any other.
            if sender.begun:
                raise
            await fault(error, sender.request_id)(scope, receive, sender)
        finally:
            _log.info(
                "request",
                method=scope["method"],
                path=scope["path"][:200],
                status=int(sender.status),
                caller=scope.get("fumehood.caller", ""),
                peer=(scope.get("client") or ("",))[0],
                seconds=round(time.monotonic() - began, 4),
            )


class _Sender:
    """Adds our headers to an answer, and remembers how it began."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self.request_id = request_id
        self.status = 0

    @property
    def begun(self) -> bool:
        return self.status != 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            there = {name.lower() for name, _ in message["headers"]}
            added = [(name, value) for name, value in _HEADERS if name not in there]
            message["headers"] = [*message["headers"], *added, (b"x-request-id", self.request_id.encode())]
        await self._send(message)


def _bounded_receive(receive: Receive, limit: int, whole_s: float) -> Receive:
    total = 0
    whole = False
    until = time.monotonic() + whole_s

    async def bounded() -> Message:
        nonlocal total, whole
        if whole:
            # From here on there is nothing to receive but the end of the connection, which may take long.
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), min(_IDLE_S, max(0.0, until - time.monotonic())))
        except TimeoutError as error:
            detail = f"the request came too slowly ({_IDLE_S} s without a byte, {whole_s:.0f} s in all); send it again"
            headers = {"Connection": "close"}
            raise ProblemError(HTTPStatus.REQUEST_TIMEOUT, "too-slow", detail, headers=headers) from error
        total += len(message.get("body", b""))
        whole = not message.get("more_body", False)
        if total > limit:
            raise _too_large(limit)
        return message

    return bounded


def _check_length(length: str, limit: int) -> None:
    """Refuse before anything is read."""
    if not length.isdecimal() or int(length[:20]) > limit:
        raise _too_large(limit)


def _too_large(limit: int) -> ProblemError:
    size = f"{limit >> 20} MiB"
    return ProblemError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "too-large",
        f"the request's body is larger than {size}; send less (`api.upload_mb` bounds uploads)",
        headers={"Connection": "close"},
    )
