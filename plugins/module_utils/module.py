# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module does the same way: end in one clear error, clean up when it is told to stop."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import HoldfastError
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import PSYCOPG2_ERROR

VERSION = "0.1.0"
CREATED_BY = f"holdfast.postgres {VERSION}"


def _stop(number: int, frame: object) -> NoReturn:
    raise HoldfastError(f"The run was stopped by {signal.Signals(number).name}. What it had begun was removed.")


def execute(
    module: AnsibleModule, work: Callable[[AnsibleModule, list[str]], dict[str, Any]], psycopg2: bool
) -> NoReturn:
    """Do a module's work, which gets a list for its warnings, and exit with its result and ``elapsed`` seconds."""
    if psycopg2 and PSYCOPG2_ERROR:
        module.fail_json(msg=missing_required_lib("psycopg2"), exception=PSYCOPG2_ERROR)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, _stop)
    began, warnings = time.monotonic(), list[str]()
    try:
        result = work(module, warnings)
    except HoldfastError as exc:
        for warning in dict.fromkeys(warnings):
            module.warn(warning)
        module.fail_json(msg=str(exc))
    for warning in dict.fromkeys(warnings):
        module.warn(warning)
    module.exit_json(elapsed=round(time.monotonic() - began, 3), **result)
    raise AssertionError("exit_json does not return")
