"""Index pages (PEP 691 JSON and PEP 503 HTML): which files they link to, and absolute addresses for them."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urldefrag, urljoin, urlsplit, urlunsplit

import msgspec

JSON_TYPE = "application/vnd.pypi.simple.v1+json"
HTML_TYPE = "text/html"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_DIGEST = re.compile(r"sha256=([0-9a-fA-F]{64})")
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\uffff\\]")
_METADATA_ATTRIBUTES = ("data-core-metadata", "data-dist-info-metadata")


class FileLink(msgspec.Struct, frozen=True):
    """One file that an index page names."""

    url: str
    """Absolute and canonical (see `canonical`), without fragment."""
    sha256: str = ""
    metadata_sha256: str = ""


class Page(msgspec.Struct, frozen=True):
    """An index page made fit to hand out: every link absolute, without credentials."""

    body: bytes
    files: tuple[FileLink, ...]


def canonical(url: str) -> str:
    """Write a URL in the one form that is compared: lower-case scheme and host, no default port, no fragment.

    Returns:
        The canonical URL, or an empty string when it is not a plain http(s) URL: another scheme, credentials in it, a
        control character, a space, a backslash, non-ASCII, an impossible port.
    """
    if _UNSAFE.search(url):
        return ""
    try:
        parts = urlsplit(urldefrag(url).url)
        port = parts.port
    except ValueError:
        return ""
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower().rstrip(".")
    if scheme not in _DEFAULT_PORTS or not host or "@" in parts.netloc:
        return ""
    shown = f"[{host}]" if ":" in host else host
    if port is not None and port != _DEFAULT_PORTS[scheme]:
        shown = f"{shown}:{port}"
    return urlunsplit((scheme, shown, parts.path or "/", parts.query, ""))


def host_of(url: str) -> str:
    """Return the lower-case host name (or address) of a canonical URL."""
    return urlsplit(url).hostname or ""


def parse_page(body: bytes, content_type: str, url: str) -> Page:
    """Read an index page that came from `url`.

    Args:
        body: The page.
        content_type: Its media type as the server said.
        url: The address it was finally read from; relative links are resolved against it.

    Returns:
        The page with absolute links; `body` is unchanged when all were absolute.

    Raises:
        ValueError: It says it is JSON and is not an index page.
    """
    if "json" in content_type.lower():
        return _parse_json(body, url)
    return _parse_html(body, url)


def _absolute(link: str, base: str) -> str:
    """Resolve a link and drop credentials from it; the fragment stays."""
    try:
        parts = urlsplit(urljoin(base, link.strip()))
    except ValueError:
        return ""
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _parse_json(body: bytes, url: str) -> Page:
    try:
        document = msgspec.json.decode(body)
    except RecursionError as error:
        raise ValueError("the JSON answer is nested too deeply") from error
    entries = document.get("files") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("the JSON answer is not an index page: it has no list `files`")  # noqa: TRY004
    changed = False
    files = []
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("url"), str):
            continue
        absolute = _absolute(entry["url"], url)
        changed |= absolute != entry["url"]
        entry["url"] = absolute
        if address := canonical(absolute):
            files.append(FileLink(address, _json_digest(entry.get("hashes")), _json_metadata(entry)))
    return Page(msgspec.json.encode(document) if changed else body, tuple(files))


def _json_digest(hashes: Any) -> str:  # noqa: ANN401 - any JSON value
    digest = hashes.get("sha256") if isinstance(hashes, dict) else None
    found = _DIGEST.fullmatch(f"sha256={digest}")
    return found[1].lower() if found else ""


def _json_metadata(entry: dict[str, Any]) -> str:
    return _json_digest(entry.get("core-metadata")) or _json_digest(entry.get("dist-info-metadata"))


class _Anchors(HTMLParser):
    """Collects the anchors of a PEP 503 page with their attributes and text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.base = ""
        self.anchors: list[tuple[dict[str, str | None], list[str]]] = []
        self._open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "base" and not self.base:
            self.base = dict(attrs).get("href") or ""
        elif tag == "a":
            self.anchors.append((dict(attrs), []))
            self._open = True

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._open = False

    def handle_data(self, data: str) -> None:
        if self._open:
            self.anchors[-1][1].append(data)


def _parse_html(body: bytes, url: str) -> Page:
    parser = _Anchors()
    parser.feed(body.decode("utf-8", "replace"))
    parser.close()
    base = urljoin(url, parser.base) if parser.base else url
    files, lines, changed = [], [], bool(parser.base)
    for attributes, text in parser.anchors:
        href = attributes.get("href")
        if not href:
            continue
        absolute = _absolute(href, base)
        changed |= absolute != href
        if address := canonical(absolute):
            digest = _DIGEST.search(urldefrag(absolute).fragment)
            metadata = next((found for name in _METADATA_ATTRIBUTES if (found := attributes.get(name))), "")
            known = _DIGEST.search(metadata)
            files.append(
                FileLink(address, digest[1].lower() if digest else "", known[1].lower() if known else ""),
            )
        lines.append(_anchor({**attributes, "href": absolute}, "".join(text)))
    if not changed:
        return Page(body, tuple(files))
    return Page(_document(lines), tuple(files))


def _anchor(attributes: dict[str, str | None], text: str) -> str:
    written = "".join(
        f" {name}" if value is None else f' {name}="{html.escape(value)}"' for name, value in attributes.items()
    )
    return f"<a{written}>{html.escape(text)}</a><br>"


def _document(lines: list[str]) -> bytes:
    page = ["<!DOCTYPE html>", "<html><head>", '<meta name="pypi:repository-version" content="1.0">', "</head><body>"]
    return "\n".join([*page, *lines, "</body></html>", ""]).encode()
