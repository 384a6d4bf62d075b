"""Reads the text that strace writes: lines of bytes in, calls, exits and signals out.

Made for `strace -f -ttt -yy --decode-pids=pidns -s N -o FILE` on x86_64 Linux (strace 6.x).
"""

from collector.strace.items import Call, Exit, Familiar, Item, Note, Said, Signal, Unparsed
from collector.strace.reader import Joiner, parse
from collector.strace.values import Argument, Descriptor, Group, Text, Value, Word, parse_arguments

__all__ = [
    "Argument",
    "Call",
    "Descriptor",
    "Exit",
    "Familiar",
    "Group",
    "Item",
    "Joiner",
    "Note",
    "Said",
    "Signal",
    "Text",
    "Unparsed",
    "Value",
    "Word",
    "parse",
    "parse_arguments",
]
