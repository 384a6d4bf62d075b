"""Start hook of the packages of emulations: at the start of a bare interpreter each emulation of that phase acts."""

import os
import runpy
import sys

# Only a fumehood pod has this file, and only its startup phase runs such a command; anywhere else nothing happens.
if os.path.isfile("/opt/fumehood/pip_launcher.py") and sys.orig_argv[1:] == ["-c", "pass"]:
    from @TITLE@.emulated_kit import apart

    place = os.path.join(os.path.dirname(os.path.abspath(__file__)), "@TITLE@", "at_start")
    for name in sorted(os.listdir(place)):
        if name.endswith(".py"):
            apart(lambda name=name: runpy.run_path(os.path.join(place, name)))
