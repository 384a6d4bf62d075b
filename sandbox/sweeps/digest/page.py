"""The digest as one HTML file: styles inside, no script, nothing fetched, every string escaped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from jinja2 import Environment, StrictUndefined

from sandbox.sweeps.digest.shown import compared, headline, instant, news, summary
from sandbox.terminal.page import harmless

if TYPE_CHECKING:
    from sandbox.sweeps.digest.model import Digest

_TEMPLATE: Final = Path(__file__).with_name("digest.html.jinja")


def render_html(digest: Digest) -> str:
    """The digest as an HTML document."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        digest=digest, compared=compared, headline=headline, instant=instant, news=news, summary=summary
    )


def _shown(value: object) -> object:
    """Escaping keeps markup out; this makes direction marks and control characters visible."""
    return harmless(value) if type(value) is str else value
