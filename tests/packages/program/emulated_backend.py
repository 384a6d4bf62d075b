"""Build backend of the packages of emulations: each emulation of the build phase in a process of its own, then a wheel.

The wheel lies ready in the source tree.
"""

import os
import runpy
import shutil
import sys
import zipfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from emulated_kit import apart

WHEEL = "@WHEEL@"


def prepare_metadata_for_build_wheel(directory, config_settings=None):
    with zipfile.ZipFile(WHEEL) as archive:
        members = [member for member in archive.namelist() if ".dist-info/" in member]
        archive.extractall(directory, members)
    return members[0].partition("/")[0]


def build_wheel(directory, config_settings=None, metadata_directory=None):
    # Only a fumehood pod has this file; anywhere else nothing happens.
    if os.path.isfile("/opt/fumehood/pip_launcher.py") and os.path.isdir("build_time"):
        for name in sorted(os.listdir("build_time")):
            apart(lambda name=name: runpy.run_path(os.path.join("build_time", name)))
    shutil.copyfile(WHEEL, os.path.join(directory, WHEEL))
    return WHEEL
