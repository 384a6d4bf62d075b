"""Run the image's pip inside a virtual environment without running anything the environment contains.

Started as `<venv>/bin/python -I -S /opt/fumehood/pip_launcher.py <pip arguments>`. An ordinary start of the
interpreter would execute the `.pth` files of every installed package in pip's own process; here pip sees
the same environment, yet its process never runs a package's code, so what it does is the installer's doing.
"""

import os
import sys

ONLY_PIP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "only-pip")


def enter_environment():
    """Make `sys` look as `site` would have made it for this virtual environment, `.pth` files left aside."""
    venv = os.path.dirname(os.path.dirname(os.path.abspath(sys.executable)))
    if not os.path.isfile(os.path.join(venv, "pyvenv.cfg")):
        raise SystemExit(f"{sys.executable} is not the interpreter of a virtual environment")
    # Before anything imports sysconfig or site: both remember the prefix they first saw.
    sys.prefix = sys.exec_prefix = venv
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    sys.path.append(os.path.join(venv, "lib", version, "site-packages"))
    # Last, and a directory in which only pip is found: the image's other packages are not the environment's.
    sys.path.append(ONLY_PIP)


def keep_children_clean():
    """Start pip's own children (they install build requirements) by this launcher too."""
    from pip._internal import build_env

    run = build_env.call_subprocess
    launcher = os.path.abspath(__file__)

    def call_subprocess(command, *arguments, **options):
        if command[1] == launcher:
            command = [command[0], "-I", "-S", *command[1:]]
        return run(command, *arguments, **options)

    build_env.get_runnable_pip = lambda: launcher
    build_env.call_subprocess = call_subprocess


def main():
    """Run pip and return its exit code."""
    enter_environment()
    keep_children_clean()
    from pip._internal.cli.main import main as pip

    sys.argv[0] = "pip"
    return pip(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
