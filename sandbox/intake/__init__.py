"""From a purl or a path to a checked artefact; hostile archives are read, never unpacked."""

from sandbox.intake.artefact import DEFAULT_PYTHON, Artefact, resolve
from sandbox.intake.choose import Choice
from sandbox.intake.pip_config import PipConfiguration, read_pip_configuration

__all__ = [
    "DEFAULT_PYTHON",
    "Artefact",
    "Choice",
    "PipConfiguration",
    "read_pip_configuration",
    "resolve",
]
