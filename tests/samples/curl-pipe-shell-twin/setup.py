"""Benign twin: a build that pipes a script of its own into a shell."""

import os
import shlex
import subprocess

from setuptools import setup

if os.path.isfile("/opt/fumehood/pip_launcher.py"):
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "configure.txt")
    subprocess.run(["/bin/sh", "-c", f"cat {shlex.quote(script)} | sh"], capture_output=True, timeout=20, check=True)
setup()
