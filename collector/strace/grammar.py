"""The shapes of strace's lines as regular expressions over bytes.

The result of a call cannot be found by searching for `) = `: a path in `3</tmp/a) = 1>` may hold it. So the arguments
are walked from the left, over quoted strings and descriptor annotations as units, up to the one `) = ` outside them.
All repetition is possessive: no input makes the match go back.
"""

from __future__ import annotations

import re
from typing import Final

LAST: Final = rb"|(?!)"
"""Ends the alternatives of each possessive group. In Python before 3.11.5 what the last, failing round of a repetition
had consumed stayed consumed (CPython's issue 106052), and so it was in Debian 12's 3.11.2 until an update mended it. An
alternative that fails at once puts that right."""

STRING: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+' + LAST + rb')*+"'
"""A quoted string; strace escapes quotes, backslashes and everything that is not printable ASCII."""

ANNOTATION: Final = (
    # A path: strace writes its own < and > as octal escapes. Devices carry a nested <char 1:3>.
    rb"<(?:[/(][^<>]*+(?:<[a-z]++ [0-9:]*+>)?"
    # A socket, pipe, pidfd...: arrows between addresses, and quoted unix paths, which may hold anything.
    rb"|(?![/(<])(?:[^\"<>-]++|->|-|" + STRING + LAST + rb")*+)>(?:\(deleted\))?"
)
"""What `-yy` adds to a descriptor."""

ARGUMENTS: Final = rb'(?:[^"<)]++|' + STRING + rb"|" + ANNOTATION + rb"|<<|\)(?! +=)" + LAST + rb")*+"

HEAD: Final = re.compile(rb"([0-9]{1,10}) +([0-9]{1,12}\.[0-9]{1,9}) (.*)", re.DOTALL)
"""pid and time, which begin every line, and what follows: the other patterns are for this."""

_NAME: Final = rb"([a-z_][a-z0-9_]*+)"
_NAME_OR_NONE: Final = rb"([a-z_][a-z0-9_]*+|\?{3,4})"
_RESULT: Final = (
    rb"(?:(\?)|(-?[0-9]{1,20}|0x[0-9a-f]{1,16}))(" + ANNOTATION + rb")?"
    rb"(?: ([A-Z][A-Z0-9]++)(?= |$)| /\* ([0-9]{1,10}) in strace's PID NS \*/)?(?: [^\n]*+)?"
)

CALL: Final = re.compile(_NAME + rb"\((" + ARGUMENTS + rb")\) += " + _RESULT + rb"\Z", re.DOTALL)
"""Name, arguments, unknown result, result, annotation, errno, outer pid."""

STALE: Final = re.compile(rb"\) += -1 \(errno [0-9]{5,20}\)\Z")
"""Ends a call whose result is not known: its thread was killed before strace could ask, which then takes something else
for it. No error has such a number."""

UNFINISHED: Final = re.compile(
    _NAME_OR_NONE + rb"\((.*) <(?:unfinished|pid changed to ([0-9]{1,10})) \.\.\.>\Z", re.DOTALL
)
"""Name, the arguments so far, the new pid of a thread that executes."""

RESUMED: Final = re.compile(rb"<\.\.\. " + _NAME_OR_NONE + rb" resumed>(.*)\Z", re.DOTALL)
"""Name, the rest of the call from where it was interrupted."""

NAMELESS: Final = re.compile(rb"\?{3,4}\((?: <unfinished \.\.\.>)?\) += \?\Z")
"""A call that was never made: its thread was killed on the way into it, before strace could ask which call it is. It
stands in the trace whether such calls are traced or not."""

EXIT: Final = re.compile(
    rb"\+\+\+ (?:exited with (-?[0-9]{1,10})|killed by ([A-Z][A-Z0-9_+ ]*?)(?: \(core dumped\))?) \+\+\+\Z"
)
"""Exit code, signal."""

SUPERSEDED: Final = re.compile(rb"\+\+\+ superseded by execve in pid ([0-9]{1,10}) \+\+\+\Z")

SIGNAL: Final = re.compile(rb"--- ([A-Z][A-Z0-9_]*+)(?: (\{.*\}))? ---\Z", re.DOTALL)
"""Signal, its details."""

STOPPED: Final = re.compile(rb"--- (stopped by [A-Z0-9_]++) ---\Z")

MODE: Final = re.compile(rb"\[ (Process PID=[0-9]{1,10} runs in [^\]\n]{1,60} mode\.) \]\Z")
"""Text: a process that switched to another ABI."""

KILLED_INSIDE: Final = b" <unfinished ...>"
"""Ends the arguments of a call whose process died in it: `read(0,  <unfinished ...>) = ?`."""
