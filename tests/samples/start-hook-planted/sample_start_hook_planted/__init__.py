"""Inert sample: an import that plants a start hook which only holds a comment."""

import os


def act():
    site_packages = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    with open(os.path.join(site_packages, "zz_sample_start_hook_planted.pth"), "w", encoding="utf-8") as file:
        file.write("# planted by sample_start_hook_planted\n")


# Only a fumehood pod has this directory; anywhere else nothing happens.
if os.path.isfile("/opt/fumehood/pip_launcher.py"):
    act()
