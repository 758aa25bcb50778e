# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Python that a module runs by: one that has what it needs, as the modules apt and dnf do it.

Ansible takes the interpreter that it finds, or its own where it connects to localhost: an activated virtual environment has no psycopg2,
and the packages of the distribution are seen by the system's Python alone.
"""

from __future__ import annotations

import glob
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible.module_utils.common.respawn import has_respawned, respawn_module
from ansible_collections.holdfast.postgres.plugins.module_utils import stopping
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.libraries import (
    KUBERNETES,
    OF_STORE,
    PSYCOPG2,
    Library,
)

# The environment that the role setup makes where the distribution has no packages; the action plugins say another one by the variable.
OWN_ENVIRONMENT = "/usr/local/lib/holdfast/venv"
VARIABLE = "HOLDFAST_PYTHON_VENV"

# Source: PEP 394, and where Red Hat's and Debian's packages of Python put theirs.
_SYSTEM = ("/usr/bin/python3", "/usr/libexec/platform-python", "/usr/local/bin/python3")


def needed(params: Mapping[str, Any], psycopg2: bool, kubernetes: bool = False) -> list[Library]:
    """The libraries that a module needs, by its options. ``kubernetes``: it needs that one whatever its options are."""
    libraries = [PSYCOPG2] if psycopg2 else []
    if kubernetes or any(value is not None for value in (params.get("kubernetes") or {}).values()):
        libraries.append(KUBERNETES)
    for option in ("repository", "repositories", "source", "target"):
        given = params.get(option)
        for repository in given if isinstance(given, list) else [given]:
            store = repository.get("type") if isinstance(repository, dict) else None
            if store in OF_STORE and OF_STORE[store] not in libraries:
                libraries.append(OF_STORE[store])
    return libraries


def candidates() -> Iterator[str]:
    """Other interpreters of this host, the likeliest first."""
    tried = {os.path.realpath(sys.executable)} if sys.prefix == sys.base_prefix else set()
    own = os.environ.get(VARIABLE) or OWN_ENVIRONMENT
    for path in (f"{own}/bin/python", *_SYSTEM, *sorted(glob.glob("/usr/bin/python3.[0-9]*"), reverse=True)):
        # An environment's python is a link to the system's, and is another one all the same.
        real = path if path.startswith(own) else os.path.realpath(path)
        if (
            real not in tried
            and path != sys.executable
            and path.rpartition("-")[2] != "config"
            and os.access(path, os.X_OK)
        ):
            tried.add(real)
            yield path


def has_all(interpreter: str, libraries: Sequence[Library]) -> bool:
    """Whether an interpreter of 3.9 or newer imports them all, each new enough."""
    script = "import sys; assert sys.version_info >= (3, 9)\n" + "".join(library.probe() for library in libraries)
    try:
        done = subprocess.run(
            [interpreter, "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def ensure(params: Mapping[str, Any], psycopg2: bool, kubernetes: bool = False) -> None:
    """Go on by an interpreter that has what is needed, if this one has not and there is one. Then this does not return.

    Where there is none, the one that has psycopg2 at least; else nothing happens, and who needs a library says that it is missing.
    """
    libraries = needed(params, psycopg2, kubernetes)
    if has_respawned() or all(library.is_here() for library in libraries):
        return
    there = list(candidates())
    for wanted in (libraries, [PSYCOPG2]):
        if not psycopg2 and wanted == [PSYCOPG2] or wanted == [PSYCOPG2] and PSYCOPG2.is_here():
            return
        for interpreter in there:
            if has_all(interpreter, wanted):
                with stopping.handed_on():
                    respawn_module(interpreter)


def taken() -> dict[str, Any]:
    """For a module's result: which interpreter was taken instead of Ansible's, if one was."""
    return {"interpreter": sys.executable} if has_respawned() else {}
