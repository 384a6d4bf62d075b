"""Finds the run's planted secrets in what leaves the pod."""

from collector.bait.needles import MIN_LENGTH
from collector.bait.scanner import BaitScanner, Hit

__all__ = ["MIN_LENGTH", "BaitScanner", "Hit"]
