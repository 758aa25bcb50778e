# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module run as ever, while a thread beside it shows the progress file that the module writes.

The module is not made asynchronous for this: its result stays its own, its arguments do not lie on the target's disk
longer than they must, and Ctrl-C ends it as it ends any module.
"""

from __future__ import annotations

import contextvars
import copy
import shlex
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Optional

from ansible import constants, context
from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display
from ansible_collections.holdfast.postgres.plugins.plugin_utils import progress
from ansible_collections.holdfast.postgres.plugins.plugin_utils.role_action import RoleAction

INTERVAL = "holdfast_progress_interval"
DEFAULT_INTERVAL = 5.0
# What these print is read by programs, or has one line for a task.
QUIET_CONSOLES = {"oneline", "json", "jsonl", "null", "dense"}


class WatchedAction(RoleAction):
    """The action plugin of each module with the option ``progress_file``."""

    def run_module(self, tmp: Any, task_vars: dict[str, Any]) -> dict[str, Any]:
        interval = self._interval(task_vars)
        if not interval or self._quiet():
            return super().run_module(tmp, task_vars)
        with self._progress_directory() as directory:
            if not directory:
                return super().run_module(tmp, task_vars)
            path = f"{directory}/progress"
            arguments = self._task.args
            self._task.args = {**arguments, "progress_file": path}
            try:
                with self._watched(path, interval, task_vars):
                    return super().run_module(tmp, task_vars)
            finally:
                self._task.args = arguments

    def _interval(self, task_vars: dict[str, Any]) -> float:
        """Seconds between two lines; 0: none."""
        said = self._templar.template(task_vars.get(INTERVAL, DEFAULT_INTERVAL))
        try:
            seconds = float(said)
        except (TypeError, ValueError):
            raise AnsibleActionFail(f"{INTERVAL} is {said!r}, and must be a number of seconds, or 0 for no progress.")
        return max(seconds, 0.0)

    def _quiet(self) -> bool:
        task = self._task
        return bool(
            task.check_mode
            or task.async_val
            or task.no_log
            or task.args.get("progress_file")  # someone looks already
            or context.CLIARGS.get("one_line")
            or str(constants.DEFAULT_STDOUT_CALLBACK).rpartition(".")[2] in QUIET_CONSOLES
        )

    @contextmanager
    def _progress_directory(self) -> Iterator[Optional[str]]:
        """A directory of the user that the module runs as, and of nobody else; None: there can be none."""
        made = self._low_level_execute_command('umask 077 && mktemp -d "${TMPDIR:-/tmp}/holdfast-progress-XXXXXXXX"')
        directory = made["stdout"].strip().rpartition("\n")[2].strip() if made["rc"] == 0 else ""
        if not directory.startswith("/"):
            yield None
            return
        try:
            yield directory
        finally:
            self._low_level_execute_command(f"rm -rf {shlex.quote(directory)}")

    @contextmanager
    def _watched(self, path: str, interval: float, task_vars: dict[str, Any]) -> Iterator[None]:
        host = task_vars.get("inventory_hostname") if len(task_vars.get("ansible_play_hosts_all") or []) > 1 else None
        ended = threading.Event()
        # ansible-core keeps what task it is at in context variables, which threads do not inherit.
        thread = threading.Thread(
            target=contextvars.copy_context().run,
            args=(self._beside()._watch, path, interval, host, ended),
            daemon=True,
        )
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(timeout=2)  # a look that hangs must not hold up the result

    def _beside(self) -> WatchedAction:
        """This action with a connection and a become plugin of its own: they keep state while a command runs."""
        other = copy.copy(self)
        other._connection = copy.copy(self._connection)
        other._connection.become = copy.copy(self._connection.become)
        return other

    def _watch(self, path: str, interval: float, host: Optional[str], ended: threading.Event) -> None:
        display = Display()
        last, since = "", time.monotonic()
        # Progress is a courtesy: whatever goes wrong here, the run goes on without.
        with suppress(Exception):
            while not ended.wait(interval):
                text = self._low_level_execute_command(f"cat {shlex.quote(path)} 2>/dev/null")["stdout"]
                if text != last:
                    last, since = text, time.monotonic()
                state = progress.parse(text)
                if state and not ended.is_set():
                    display.display(progress.line(state, time.monotonic() - since, host))
