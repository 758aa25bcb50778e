# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module does the same way: end in one clear error, whatever went wrong, and stop when it is told to."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.postgres.plugins.module_utils import interpreter, stopping
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError, Stopped, causes
from ansible_collections.holdfast.postgres.plugins.module_utils.progress import Progress
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import PSYCOPG2_ERROR

VERSION = "0.1.0"
CREATED_BY = f"holdfast.postgres {VERSION}"
REPORT = "https://github.com/holdfast/postgres/issues"

_PSYCOPG2 = (
    "This needs the Python package psycopg2, which neither {python} on this host ({host}) has, nor any other Python that was found there. "
    "Let the role setup install it (holdfast_setup_install_packages: true), or install the distribution's package (python3-psycopg2)."
)

Work = Callable[[AnsibleModule, list[str]], dict[str, Any]]


def execute(module: AnsibleModule, work: Work, psycopg2: bool, kubernetes: bool = False) -> NoReturn:
    """Do a module's work, which gets a list for its warnings, and exit with its result and ``elapsed`` seconds. ``psycopg2`` and
    ``kubernetes``: it needs that library, whatever its options are.

    Whatever goes wrong becomes a message and a failed module. Tracebacks come with ``-vvv`` alone, by ``fail_json`` itself.
    """
    interpreter.ensure(module.params, psycopg2, kubernetes)
    if psycopg2 and PSYCOPG2_ERROR:
        module.fail_json(msg=_PSYCOPG2.format(python=sys.executable, host=platform.node()), exception=PSYCOPG2_ERROR)
    began, warnings = time.monotonic(), list[str]()
    result: dict[str, Any] = {}
    done = False
    # A run that tells more makes one of its own, of the same file.
    Progress(None if module.check_mode else module.params.get("progress_file"), str(module._name))
    stopping.listen(lambda stopped: _give_up(stopped, warnings))
    try:
        result = work(module, warnings)
        done = True
        stopping.finished()
    except BaseException as exc:
        stopping.finished()
        if not done:  # else the signal came when all was done
            _warn(module, warnings)
            if stopping.wanted_at_all():
                stopping.leave_soon()
            module.fail_json(**failure(exc, str(module._name)), **interpreter.taken())
    _warn(module, warnings)
    module.exit_json(elapsed=round(time.monotonic() - began, 3), **result, **interpreter.taken())
    raise AssertionError("exit_json does not return")


def _warn(module: AnsibleModule, warnings: list[str]) -> None:
    for warning in dict.fromkeys(warnings):
        module.warn(warning)


def failure(exc: BaseException, module_name: str) -> dict[str, Any]:
    """What a module says of an exception: ``msg``, and what else its result has.

    The first one counts: what fails while it is cleared up must not hide what was the matter.
    """
    chain = causes(exc)
    stopped = next((found for found in chain if isinstance(found, Stopped)), None)
    if stopped is not None:
        return _stop(stopped)
    result: dict[str, Any] = {}
    for found in reversed(chain):
        if isinstance(found, HoldfastError):
            result = {**found.result(), **result}
    if isinstance(exc, HoldfastError):
        return {"msg": str(exc), **result}
    known = next((found for found in chain if isinstance(found, HoldfastError)), None)
    if known is not None:
        return {"msg": f"{known} Then, while that was cleared up: {_plain(exc)}.", **result}
    return {"msg": _unforeseen(exc, module_name), **result}


def _stop(stopped: Stopped) -> dict[str, Any]:
    said = stopping.told(stopped)
    left = said or ["What it had finished stays; what it had not is done by the next run."]
    return {
        "msg": f"{stopped} {' '.join(left)}",
        "changed": stopped.changed or said != stopped.left,
        "stopped_by": stopped.signal_name,
    }


def _plain(exc: BaseException) -> str:
    message = " ".join(str(exc).split()).rstrip(".")
    return f"{type(exc).__name__}: {message}" if message else type(exc).__name__


def _unforeseen(exc: BaseException, module_name: str) -> str:
    # SQLSTATE of psycopg2's errors: https://www.psycopg.org/docs/errors.html
    code = getattr(exc, "pgcode", None)
    what = (
        f"PostgreSQL answered with an error that was not foreseen (SQLSTATE {code})"
        if code
        else "something that was not foreseen"
    )
    return (
        f"{module_name} met {what}: {_plain(exc)}. Nothing that it did not report as done may be relied on; what was "
        "there before is not deleted by this. docs/troubleshooting.md says how to look closer; please report it, with the "
        f"output of a run with -vvv, at {REPORT}."
    )


def _give_up(stopped: Stopped, warnings: list[str]) -> None:
    """Clearing up took too long: say what remains, and go."""
    said = _stop(stopped)
    said["msg"] += " Clearing up did not end in time, and was given up."
    stopping.end_children()
    sys.stdout.write(json.dumps({**said, "failed": True, "warnings": list(dict.fromkeys(warnings))}) + "\n")
    sys.stdout.flush()
    os._exit(1)
