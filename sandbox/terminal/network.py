"""The network attempts of a report as rows: what went out, who sent it, and what it carried."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from collector.attempts import Attempt, DnsAttempt, HttpAttempt, OtherAttempt, TlsAttempt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.text import Text

    from collector.attempts import Network
    from sandbox.terminal.page import Page

_MOST: Final = 40
"""Rows shown; the JSON report has more."""
_CONTENT: Final = 160
"""Characters of a body or payload shown."""


def render_network(page: Page, network: Network) -> None:
    """Write every attempt but the registry's business, which is counted in one line."""
    attempts: list[Attempt] = [*network.http, *network.tls, *network.dns, *network.other]
    usual = sum(attempt.count for attempt in attempts if attempt.role == "registry")
    rows = [attempt for attempt in attempts if attempt.role != "registry" and not _says_nothing(attempt, network)]
    # What carried a secret comes first; otherwise the order of kinds and of time stays.
    rows.sort(key=lambda attempt: not attempt.bait)
    page.heading("Network")
    page.rows([_row(page, attempt) for attempt in rows[:_MOST]])
    if len(rows) > _MOST:
        page.line(page.text((f"and {len(rows) - _MOST:,} more rows in the JSON report", "dim")), 1)
    omitted = network.omitted
    for kind, left in (("DNS", omitted.dns), ("HTTP", omitted.http), ("TLS", omitted.tls), ("other", omitted.other)):
        if left:
            page.line(page.text(f"and {left:,} more {kind} rows than a report holds"), 1)
    if usual:
        page.line(page.text((f"registry: {usual:,} lookups, handshakes and requests", "dim")), 1)
    if not rows:
        page.line(page.text("nothing else was tried" if usual else "nothing was tried"), 1)


def _says_nothing(attempt: Attempt, network: Network) -> bool:
    """Whether another row tells the same and more, or nothing was there to talk to."""
    if isinstance(attempt, TlsAttempt):
        place = (attempt.phase, attempt.ip, attempt.port)
        return attempt.completed and place in _requested(network.http)
    return isinstance(attempt, OtherAttempt) and attempt.kind == "network.unix" and attempt.errno != ""


def _requested(requests: Iterable[HttpAttempt]) -> set[tuple[str, str, int]]:
    return {(request.phase, request.ip, request.port) for request in requests if request.tls}


def _row(page: Page, attempt: Attempt) -> list[Text]:
    kind, what, content = _told(attempt)
    parts: list[str | tuple[str, str]] = [what]
    if attempt.role:
        parts.append((f"  {attempt.role}", "cyan"))
    if attempt.bait:
        parts.append((f"  bait: {', '.join(attempt.bait)}", "bold red"))
    if attempt.count > 1:
        spread = f" by {attempt.processes} processes" if attempt.processes > 1 else ""
        parts.append((f"  {attempt.count:,} times{spread}", "dim"))
    if content:
        shown = content if len(content) <= _CONTENT else f"{content[:_CONTENT]}…"
        parts.append((f"  {shown}", "italic"))
    return [page.text((kind, "bold")), page.text(attempt.phase), page.text(attempt.actor), page.text(*parts)]


def _told(attempt: Attempt) -> tuple[str, str, str]:
    """Kind, what was tried, and what it carried."""
    match attempt:
        case HttpAttempt():
            size = f"  {attempt.size:,} bytes" if attempt.size else ""
            return "http", f"{attempt.method} {_url(attempt)}{size}", attempt.body
        case DnsAttempt():
            return "dns", f"{attempt.name} {attempt.qtype}", ""
        case TlsAttempt():
            refused = "" if attempt.completed else "  our certificate was refused"
            return "tls", f"{attempt.sni or attempt.ip} port {attempt.port}{refused}", ""
        case OtherAttempt():
            return _other(attempt)
        case _:
            return "", "", ""


def _url(attempt: HttpAttempt) -> str:
    usual = attempt.port == (443 if attempt.tls else 80)
    host = f"[{attempt.host}]" if ":" in attempt.host else attempt.host
    return f"http{'s' * attempt.tls}://{host}{'' if usual else f':{attempt.port}'}{attempt.target}"


def _other(attempt: OtherAttempt) -> tuple[str, str, str]:
    failed = f"  failed with {attempt.errno}" if attempt.errno else ""
    if attempt.kind == "network.unix":
        return "unix", f"{attempt.path}{failed}", ""
    peer = f"{attempt.host} {attempt.ip}" if attempt.host and attempt.host != attempt.ip else attempt.ip
    place = f"{peer} port {attempt.port}" if attempt.port else peer
    if attempt.kind == "network.listen":
        return attempt.protocol, f"listens on {place}{failed}", ""
    size = f"  {attempt.size:,} bytes" if attempt.size else ""
    return attempt.protocol, f"{place}{size}{failed}", attempt.payload
