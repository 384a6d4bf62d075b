"""First program of the gateway container: seals the network, gives its capabilities up, and becomes the gateway.

Started as `python -m sandbox.pod.docker.seal IP NFT SETPRIV UID CONFIG` with CAP_NET_ADMIN; what serves afterwards has
CAP_NET_RAW alone, for the tap.
"""

from __future__ import annotations

import os
import subprocess
import sys

from sandbox.pod import network


def main() -> None:
    """Run the command line; never returns."""
    ip, nft, setpriv, uid, config = sys.argv[1:]
    try:
        network.seal(ip, nft, network.TCP_PORT, network.DNS_PORT)
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error.cmd[0]}: {error.stderr.strip()}")
    only = "-all,+net_raw"
    user = (f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--no-new-privs")
    capabilities = (f"--inh-caps={only}", f"--ambient-caps={only}", f"--bounding-set={only}")
    command = [setpriv, *user, *capabilities, sys.executable, "-P", "-m", "sandbox.gateway", config]
    os.execv(setpriv, command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
