"""Versions of ourselves and of what took part in a run."""

from __future__ import annotations

import platform
from importlib import metadata

from sandbox.pod.tools import find_tools, tool_versions

_LIBRARIES = ("cryptography", "h11", "httpx2", "msgspec", "pysigma", "zstandard")


def fumehood() -> str:
    """The installed version."""
    return metadata.version("fumehood")


def tools() -> dict[str, str]:
    """Versions by name: the tracer, bubblewrap, our Python and the libraries that handle evidence."""
    libraries = {name: metadata.version(name) for name in _LIBRARIES}
    return dict(sorted({**tool_versions(find_tools()), **libraries, "python": platform.python_version()}.items()))
