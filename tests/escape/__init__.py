"""The escape suite: attempts to leave a pod, to blind its tracer or to forge its evidence, in every pod there is.

An attempt (`attempt.Attempt`, in `table/`) is a tiny inert program. All of a table's programs are the modules of one
wheel, which the command `fumehood run` installs and imports in each pod, as it would any package (in the embedded pod
also as somebody who is not root); `stage.Stage` holds what came of it. `test_escape.py` then says of each attempt, by
name:

1. it failed: what the program itself says of each act is an error, or what the table allows (`word`);
2. nothing of the machine was reached, as seen from the machine: listeners on all its addresses heard nothing, canary
   files and processes of ours are as they were, no kernel setting has changed, the trace is whole (`host.py`);
3. it was told: an event of that very process (`told`), and where that is telling a finding by that rule (`finding`).
   Where by design nothing is seen, the table says why (`unseen`). There is no third way.

Programs that disturb the pod itself (kill everything, storms, races with the end of a phase) have a pod of their own,
in `test_disturbance.py`; traps laid for the next phase's programs are in `test_traps.py`.

To add an attempt
-----------------
- Add an `Attempt` to the table that fits. `code` calls `attempt(*acts)` of `program/escape_tools.py` once; each act is
  a function without arguments, run in a child of its own. An act says `done VALUE` or the name of its error.
- It must be inert: it only looks whether it could. Open, do not write, where a write could harm if the pod were broken
  (`/proc/sys`, `/sys`, devices); aim at what `host.py` makes for it (`TARGETS`); name reserved addresses only.
- Run `pytest tests/escape -k NAME`. Make the table say what is seen, never less than docs/threat-model.md promises.
- If a runtime differs by design, say so in `differs` with the reason. The machine's side is never relaxed.
- Name it in docs/threat-model.md, as `tests/escape::NAME`, where it proves a claim.
"""
