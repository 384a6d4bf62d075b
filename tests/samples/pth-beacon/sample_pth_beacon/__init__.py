"""Inert sample: every start of the interpreter calls a host that does not exist."""

import os


def act():
    import urllib.request

    urllib.request.urlopen("http://beacon.test/alive", timeout=10).close()


# Only a fumehood pod has this directory; anywhere else nothing happens.
if os.path.isfile("/opt/fumehood/pip_launcher.py"):
    try:
        act()
    except OSError:
        pass
