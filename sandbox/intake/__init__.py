"""From a purl or a path to a checked artefact; hostile archives are read, never unpacked."""

from sandbox.intake.artefact import Artefact, keep_upload, normalise, resolve
from sandbox.intake.pip_config import PipConfiguration, read_pip_configuration

__all__ = [
    "Artefact",
    "PipConfiguration",
    "keep_upload",
    "normalise",
    "read_pip_configuration",
    "resolve",
]
