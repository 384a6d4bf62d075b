"""Shows URLs without their secrets."""

from __future__ import annotations

import re
from typing import Final

# Up to the last @: a password may hold what a URL should not.
_USER: Final = re.compile(r"(?<=://)([^:@/\s]*):[^\s]*@")
_PARAMETER: Final = re.compile(r"(?i)([?&][a-z_]*(?:password|secret|token)[a-z_]*=)[^&\s]*")


def redacted(text: str) -> str:
    """The text with every password of a URL in it as `***`."""
    return _PARAMETER.sub(r"\1***", _USER.sub(r"\1:***@", text))
