"""The phases of a PyPI run: what each of them executes inside the pod."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from sandbox.pod.interface import RESULT_FD, PhaseCommand

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sandbox.profile import Profile

_DRIVERS = "/opt/fumehood"
_PYTHON = "/usr/bin/python3"
"""The image's own interpreter: a package can replace the environment's, or what its pyvenv.cfg names."""
_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
_PIP = ("install", "--disable-pip-version-check", "--no-input", "--no-color", "--progress-bar=off")


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """The virtual environment in the tracee's home into which everything is installed."""

    home: str
    python: str
    """Version of the image's interpreter, e.g. `3.11.2`."""

    @property
    def interpreter(self) -> str:
        """The environment's Python."""
        return f"{self.home}/.venv/bin/python"

    @property
    def site_packages(self) -> str:
        """Where packages are installed."""
        return f"{self.home}/.venv/lib/python{self._short}/site-packages"

    @property
    def _short(self) -> str:
        return ".".join(self.python.split(".")[:2])

    def files(self) -> dict[str, bytes]:
        """What `python -m venv --without-pip` would write, by path relative to the home directory.

        Written by us, so that no second of the run is spent on it, and nothing of it stands in a trace.
        """
        config = f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {self.python}\n"
        return {
            ".venv/pyvenv.cfg": config.encode(),
            f".venv/lib/python{self._short}/site-packages/.keep": b"",
        }

    def links(self) -> dict[str, str]:
        """Its symbolic links, likewise."""
        return {
            ".venv/bin/python3": "/usr/bin/python3",
            ".venv/bin/python": "python3",
            f".venv/bin/python{self._short}": "python3",
            ".venv/lib64": "lib",
        }


def variables(environment: Environment, profile: Profile, planted: Mapping[str, str]) -> dict[str, str]:
    """The tracee's environment variables: persona, bait, and where to find the certificates that it trusts."""
    home = environment.home
    return {
        "HOME": home,
        "USER": profile.persona.user,
        "LOGNAME": profile.persona.user,
        "SHELL": "/bin/bash",
        "PATH": f"{home}/.venv/bin:{home}/.local/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "VIRTUAL_ENV": f"{home}/.venv",
        "LANG": profile.persona.locale,
        "TZ": profile.persona.timezone,
        **dict.fromkeys(("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO"), _AUTHORITIES),
        **planted,
    }


def pip_conf(index_urls: Sequence[str], default_index_url: str) -> bytes:
    """Pip's system-wide configuration in the pod: the worker's indexes, without their credentials.

    Args:
        index_urls: What the worker's pip is configured with, first the primary.
        default_index_url: What the pod's pip asks when nothing is configured.
    """
    bare = [_without_credentials(url) for url in index_urls]
    if bare in ([], [default_index_url]):
        return b""
    lines = ["[global]", f"index-url = {bare[0]}"]
    if bare[1:]:
        lines.append("extra-index-url = " + "\n    ".join(bare[1:]))
    return ("\n".join(lines) + "\n").encode()


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def commands(
    environment: Environment, profile: Profile, distribution: str, filename: str, requirements: Sequence[str]
) -> tuple[PhaseCommand, ...]:
    """The commands of all phases but `linger`, in order.

    Args:
        environment: Where things are installed.
        profile: For the budgets.
        distribution: Name of the package.
        filename: Of the artefact.
        requirements: What the artefact depends on; none means that there is no `dependencies` command.
    """
    python = environment.interpreter
    pip = (_PYTHON, "-I", "-S", f"{_DRIVERS}/pip_launcher.py", *_PIP)
    budgets = profile.phases

    def driver(name: str, program: str, reserve: int) -> PhaseCommand:
        budget = budgets["import" if name == "import" else "exercise"]
        limits = ("--each", str(budget.each), "--budget", str(max(budget.seconds - reserve, 1)))
        argv = (_PYTHON, "-I", "-S", f"{_DRIVERS}/{program}", "--result-fd", RESULT_FD, *limits, distribution)
        return PhaseCommand(name=name, argv=argv, budget=budget, reports_coverage=True)

    first = (
        (PhaseCommand(name="dependencies", argv=(*pip, "--", *requirements), budget=budgets["dependencies"]),)
        if requirements
        else ()
    )
    return (
        *first,
        PhaseCommand(
            name="install", argv=(*pip, "--no-deps", "--", f"/opt/artefact/{filename}"), budget=budgets["install"]
        ),
        PhaseCommand(name="startup", argv=(python, "-c", "pass"), budget=budgets["startup"]),
        # The drivers stop by themselves a little before their budget's end, so that they can say how far they came.
        driver("import", "importer.py", reserve=10),
        driver("exercise", "exerciser.py", reserve=5),
    )
