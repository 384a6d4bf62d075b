"""The system calls of one phase as typed events."""

from collector.syscalls.reader import read_trace
from collector.syscalls.trace import Send, Trace, TraceCounts

__all__ = ["Send", "Trace", "TraceCounts", "read_trace"]
