"""Inert sample: an import that adds a comment to the planted .bashrc."""

import os


def act():
    with open(os.path.expanduser("~/.bashrc"), "a", encoding="utf-8") as file:
        file.write("\n# added by sample_persistence_bashrc\n")


# Only a fumehood pod has this directory; anywhere else nothing happens.
if os.path.isfile("/opt/fumehood/pip_launcher.py"):
    act()
