"""What our own processes in a pod get of this machine: our code, and nothing of the worker's environment."""

from __future__ import annotations

from pathlib import Path


def our_code() -> str:
    """The directory from which `sandbox` and `collector` are imported."""
    return str(Path(__file__).resolve().parents[2])


def our_environment() -> dict[str, str]:
    """Environment variables of our own processes."""
    return {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONPATH": our_code(),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
