"""Where sealed bundles are kept: a directory, or an S3-compatible store; written once, verified on each read."""

from sandbox.evidence.location import open_evidence
from sandbox.evidence.store import EvidenceStore, Seal

__all__ = ["EvidenceStore", "Seal", "open_evidence"]
