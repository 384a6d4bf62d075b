"""The shapes of strace's lines as regular expressions over bytes.

The result of a call cannot be found by searching for `) = `: a path in `3</tmp/a) = 1>` may hold it. So the arguments
are walked from the left, over quoted strings and descriptor annotations as units, up to the one `) = ` outside them.
All repetition is possessive: no input makes the match go back.
"""

from __future__ import annotations

import re
from typing import Final

STRING: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
"""A quoted string; strace escapes quotes, backslashes and everything that is not printable ASCII."""

ANNOTATION: Final = (
    # A path: strace writes its own < and > as octal escapes. Devices carry a nested <char 1:3>.
    rb"<(?:[/(][^<>]*+(?:<[a-z]++ [0-9:]*+>)?"
    # A socket, pipe, pidfd...: arrows between addresses, and quoted unix paths, which may hold anything.
    rb"|(?![/(<])(?:[^\"<>-]++|->|-|" + STRING + rb")*+)>(?:\(deleted\))?"
)
"""What `-yy` adds to a descriptor."""

ARGUMENTS: Final = rb'(?:[^"<)]++|' + STRING + rb"|" + ANNOTATION + rb"|<<|\)(?! +=))*+"

_HEAD: Final = rb"([0-9]{1,10}) +([0-9]{1,12}\.[0-9]{1,9}) "
_NAME: Final = rb"([a-z_][a-z0-9_]*+)"
_RESULT: Final = (
    rb"(?:(\?)|(-?(?:[0-9]{1,20}|0x[0-9a-f]{1,16})))(" + ANNOTATION + rb")?"
    rb"(?: ([A-Z][A-Z0-9]++)(?= |$)| /\* ([0-9]{1,10}) in strace's PID NS \*/)?(?: [^\n]*+)?"
)

CALL: Final = re.compile(_HEAD + _NAME + rb"\((" + ARGUMENTS + rb")\) += " + _RESULT + rb"\Z", re.DOTALL)
"""pid, time, name, arguments, unknown result, result, annotation, errno, outer pid."""

UNFINISHED: Final = re.compile(
    _HEAD + _NAME + rb"\((.*) <(?:unfinished|pid changed to ([0-9]{1,10})) \.\.\.>\Z", re.DOTALL
)
"""pid, time, name, the arguments so far, the new pid of a thread that executes."""

RESUMED: Final = re.compile(_HEAD + rb"<\.\.\. " + _NAME + rb" resumed>(.*)\Z", re.DOTALL)
"""pid, time, name, the rest of the call from where it was interrupted."""

EXIT: Final = re.compile(
    _HEAD + rb"\+\+\+ (?:exited with (-?[0-9]{1,10})|killed by ([A-Z][A-Z0-9_+ ]*?)(?: \(core dumped\))?) \+\+\+\Z"
)
"""pid, time, exit code, signal."""

SUPERSEDED: Final = re.compile(_HEAD + rb"\+\+\+ superseded by execve in pid ([0-9]{1,10}) \+\+\+\Z")

SIGNAL: Final = re.compile(_HEAD + rb"--- ([A-Z][A-Z0-9_]*+)(?: (\{.*\}))? ---\Z", re.DOTALL)
"""pid, time, signal, its details."""

STOPPED: Final = re.compile(_HEAD + rb"--- (stopped by [A-Z0-9_]++) ---\Z")

MODE: Final = re.compile(_HEAD + rb"\[ (Process PID=[0-9]{1,10} runs in [^\]\n]{1,60} mode\.) \]\Z")
"""pid, time, text: a process that switched to another ABI."""

KILLED_INSIDE: Final = b" <unfinished ...>"
"""Ends the arguments of a call whose process died in it: `read(0,  <unfinished ...>) = ?`."""
