"""compose.yaml, really started: does the service in containers run packages, and does it lose anything?

    make compose-trial
    .venv/bin/python -m tests.containers --keep-image

Makes the image with images/service/build, starts everything as a project of its own (`fumehood-trial`; sweeps stay
out), and submits small packages that sleep. Meanwhile the worker is killed, then Redis and PostgreSQL are started
again; then all containers are removed and made anew, and at last database and evidence are put back from a backup into
empty volumes. Exit code 1 when a submission does not end as it should, or when something is not there afterwards. Needs
Docker, Compose 2, mmdebstrap and the package index.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.containers.trial import Trial, TrialError, build

_EPILOG = "What follows -- is given to images/service/build, such as --pip-conf FILE."


def main() -> int:
    """Do it, and say what was seen."""
    summary = __doc__.split("\n\n", 1)[0]
    parser = argparse.ArgumentParser(prog="python -m tests.containers", description=summary, epilog=_EPILOG)
    parser.add_argument("--package", default="pkg:pypi/six", help="a real one, for the first run")
    parser.add_argument("--keep-image", action="store_true", help="do not make the image anew")
    parser.add_argument("build", nargs="*", metavar="ARGUMENT")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="containers-") as directory:
        trial = Trial(Path(directory))
        try:
            if not arguments.keep_image:
                build(arguments.build)
            trial.run(arguments.package)
        except TrialError as error:
            print(f"it failed: {error}", file=sys.stderr)
            return 1
        finally:
            trial.close()
    print("nothing was lost")
    return 0


sys.exit(main())
