"""Planted fake secrets: one that leaves the pod is proof, for nobody else knows it."""

from sandbox.bait.kinds import KINDS
from sandbox.bait.plant import Planted, plant

__all__ = ["KINDS", "Planted", "plant"]
