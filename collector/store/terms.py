"""What a run can be found by: rules, techniques, and the names, addresses and digests that were seen in it.

| kind | value |
|---|---|
| `rule` | the name of a rule that fired, and its Sigma id |
| `technique` | an ATT&CK technique, and the one that it is a part of |
| `domain` | a name that was asked for or dialled, other than the registry's |
| `zone` | a domain, and every name above it with two labels or more |
| `address` | an address that was dialled, unless it was the answer for a name: the gateway makes those up |
| `url` | what was requested over HTTP |
| `sha256` | of the artefact, and of each file that was left behind |
| `label` | what somebody said of the run; from the table of labels, not from the report |
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

from collector.store.stored import TERM, stored

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collector.attempts import HttpAttempt, Network
    from collector.report import Report

INDICATORS: Final = ("domain", "address", "url", "sha256")
"""Kinds that are shown as the indicators of a run."""
MOST: Final = 1_000
"""Terms of one kind of one run; a report has at most 500 rows of each sort of attempt."""
_OURS: Final = frozenset({"registry", "local"})
"""Roles of attempts that say nothing about the package."""
_EMPTY: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_SHA256: Final = re.compile("[0-9a-fA-F]{64}")
_PORTS: Final = {"http": 80, "https": 443}
_Term = tuple[str, str]


def terms(report: Report) -> tuple[_Term, ...]:
    """Pairs of kind and value, in order; the same for the same report."""
    found: dict[str, set[str]] = {}
    for kind, value in _all(report):
        values = found.setdefault(kind, set())
        if value and len(values) < MOST:
            values.add(stored(value, TERM))
    return tuple((kind, value) for kind in sorted(found) for value in sorted(found[kind]))


def wanted_indicator(text: str) -> _Term:
    """The term that somebody means by an indicator, as written or as made harmless in reports (`hxxp`, `[.]`)."""
    plain = refang(text.strip())
    if _SHA256.fullmatch(plain):
        return "sha256", plain.lower()
    if "://" in plain:
        return "url", stored(plain, TERM)
    address = _address(plain)
    return ("address", address) if address else ("zone", stored(_domain(plain), TERM))


def refang(text: str) -> str:
    """An indicator as it is, from one that was made harmless."""
    plain = re.sub(r"[\[({](\.|dot)[\])}]", ".", text, flags=re.IGNORECASE).replace("[:]", ":").replace("[://]", "://")
    return re.sub(r"\Ahxxp", "http", plain, flags=re.IGNORECASE)


def defang(kind: str, value: str) -> str:
    """An indicator that no program takes for a link and nobody opens by mistake, for output to people."""
    match kind:
        case "domain":
            return value.replace(".", "[.]")
        case "address":
            return value.replace(".", "[.]").replace(":", "[:]")
        case "url":
            scheme, separator, rest = value.partition("://")
            place, slash, path = rest.partition("/")
            return f"{scheme.replace('http', 'hxxp')}{separator}{place.replace('.', '[.]')}{slash}{path}"
        case _:
            return value


def _all(report: Report) -> Iterator[_Term]:
    for finding in report.findings:
        yield "rule", finding.name
        yield "rule", finding.rule
        for technique in finding.attack:
            yield "technique", technique
            yield "technique", technique.partition(".")[0]
    yield "sha256", report.package.sha256
    for file in report.dropped.files if report.dropped else ():
        if _SHA256.fullmatch(file.sha256) and file.sha256 != _EMPTY and not file.planted:
            yield "sha256", file.sha256
    yield from _network(report.network)


def _network(network: Network) -> Iterator[_Term]:
    made_up = {answer for attempt in network.dns for answer in attempt.answers}
    hosts = [attempt.name for attempt in network.dns if attempt.role not in _OURS]
    hosts += [attempt.host for attempt in network.http if attempt.role not in _OURS]
    hosts += [attempt.sni for attempt in network.tls if attempt.role not in _OURS]
    for host in hosts:
        address = _address(host)
        if address:
            yield "address", address
        else:
            yield from _names(_domain(host))
    dialled = [(attempt.role, attempt.ip) for rows in (network.http, network.tls) for attempt in rows]
    dialled += [(attempt.role, attempt.ip) for attempt in network.other if attempt.kind != "network.listen"]
    yield from (("address", _address(ip)) for role, ip in dialled if role not in _OURS and ip not in made_up)
    yield from (("url", _url(attempt)) for attempt in network.http if attempt.role not in _OURS)


def _names(domain: str) -> Iterator[_Term]:
    labels = domain.split(".")
    if len(labels) > 1:
        yield "domain", domain
        yield from (("zone", ".".join(labels[start:])) for start in range(len(labels) - 1))


def _domain(text: str) -> str:
    return text.rstrip(".").removeprefix("*.").lower()


def _address(text: str) -> str:
    """The usual form of an address of somewhere else; empty for anything other than that."""
    try:
        address = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return ""
    return "" if address.is_loopback or address.is_unspecified else str(address)


def _url(attempt: HttpAttempt) -> str:
    scheme = "https" if attempt.tls else "http"
    if "://" in attempt.target:
        return attempt.target
    host = f"[{attempt.host}]" if ":" in attempt.host else attempt.host.lower()
    port = "" if attempt.port in {0, _PORTS[scheme]} else f":{attempt.port}"
    return f"{scheme}://{host}{port}{attempt.target}" if host else ""
