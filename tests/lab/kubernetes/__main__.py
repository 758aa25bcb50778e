# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's cluster by hand, from tests/: python -m lab.kubernetes prepare|up|down|status|image [LEVEL]

prepare  build what LEVEL (image, csi, cnpg, plugin; by default all) needs, once; where that cannot be, say why in one line and end with 0: tests skip;
         --seconds: in so many at most
up       start a cluster (of LEVEL csi, or cnpg: with CloudNativePG) and keep it until down: export KUBECONFIG as it says
down     end it, with all that is left of it; --run PID: only when it is that run's
status   whose cluster runs
image    load the collection's image as this checkout has it, into the running cluster
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time

from . import parts, programs
from .cluster import Cluster, Taken, down, missing, owner
from .parts import KUBERNETES
from .running import DidNotStart
from .settings import LOCK, USUAL


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("prepare", "up", "down", "status", "image"))
    parser.add_argument("level", nargs="?")
    parser.add_argument("--run", type=int)
    parser.add_argument("--seconds", type=float, default=math.inf)
    options = parser.parse_args()
    try:
        return COMMANDS[options.command](options)
    except (Taken, DidNotStart) as error:
        print(error, file=sys.stderr)
        return 1


def _prepare(options: argparse.Namespace) -> int:
    if os.geteuid() != 0:
        print(f"skipped: {missing()}")
        return 0
    programs.install()
    until = time.monotonic() + options.seconds
    for level in [options.level] if options.level else ["image", "cnpg", "plugin"]:
        try:
            parts.prepare(level, until - time.monotonic())
        except parts.CannotBuild as error:
            print(f"skipped: {error}")
            if parts.unbuilt(USUAL):  # what both stand on
                break
    return 0


def _up(options: argparse.Namespace) -> int:
    level = options.level or USUAL
    reason = missing(level)
    if reason:
        print(reason, file=sys.stderr)
        return 1
    begun = time.monotonic()
    cluster = Cluster.up(level, say=lambda step: print(f"{time.monotonic() - begun:5.1f} s  {step}", flush=True))
    print(f"export KUBECONFIG={cluster.kubeconfig} PATH={KUBERNETES.path}:$PATH")
    return 0


def _down(options: argparse.Namespace) -> int:
    begun = time.monotonic()
    if os.geteuid() == 0 and LOCK.parent.is_dir() and down(options.run):
        print(f"The cluster is ended ({time.monotonic() - begun:.1f} s).")
    return 0


def _status(_options: argparse.Namespace) -> int:
    found = owner()
    print(
        f"{found} ({'alive' if found.alive else 'left by a run that was killed'})"
        if found
        else "No cluster of the lab runs."
    )
    return 0


def _image(_options: argparse.Namespace) -> int:
    found = owner()
    if not found:
        print("No cluster of the lab runs: python -m lab.kubernetes up", file=sys.stderr)
        return 1
    cluster = Cluster.up(found.level, pid=found.pid)
    print(cluster.load_holdfast())
    return 0


COMMANDS = {"prepare": _prepare, "up": _up, "down": _down, "status": _status, "image": _image}

if __name__ == "__main__":
    sys.exit(main())
