"""Benign twin: an import that writes a script from its own data to a temporary file and runs it."""

import os
import subprocess
import tempfile
import urllib.request


def act():
    source = "file://" + os.path.join(os.path.dirname(__file__), "hello.txt")
    with tempfile.TemporaryDirectory() as directory:
        program = os.path.join(directory, "hello.sh")
        with urllib.request.urlopen(source, timeout=10) as answer, open(program, "wb") as file:
            file.write(answer.read())
        os.chmod(program, 0o755)
        subprocess.run([program], capture_output=True, timeout=10, check=True)


if os.path.isfile("/opt/fumehood/pip_launcher.py"):
    act()
