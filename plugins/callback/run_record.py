# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The result of a run in a Kubernetes Job. A callback, as it sees every playbook, ours or a user's, to its end, however that comes."""

from __future__ import annotations

DOCUMENTATION = r"""
name: run_record
type: notification
short_description: Leaves the result of a run in a Kubernetes Job
version_added: 0.1.0
description:
  - Writes what the modules of this collection answered, and what failed, into the repository of the play's variables as
    C(<server_name>/_runs/<id>.json), where the last 100 stay; and one line of JSON on how it went, with the record's key and its sha256, into a
    file that Kubernetes keeps with the pod.
  - The Jobs and CronJobs of M(holdfast.postgres.k8s_job) and M(holdfast.postgres.k8s_cron_job) turn it on. Without E(HOLDFAST_RUN_ID) it does
    nothing.
  - On SIGTERM, as when the pod is evicted, it waits for the module to clear up, for at most 45 seconds.
author: holdfast.postgres contributors (@holdfast)
requirements:
  - enabled in configuration (E(ANSIBLE_CALLBACKS_ENABLED))
"""

import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Optional

from ansible import context
from ansible.plugins.callback import CallbackBase
from ansible.template import Templar
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.runs import RunKey
from ansible_collections.holdfast.postgres.plugins.plugin_utils import run_record
from ansible_collections.holdfast.postgres.plugins.plugin_utils.run_record import RunNotes

CLEARING_UP = 45.0  # seconds; the pod's grace period has 60


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """run_record"""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "holdfast.postgres.run_record"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._id = os.environ.get("HOLDFAST_RUN_ID", "")
        self._path = os.environ.get("HOLDFAST_RUN_MESSAGE", "")
        self.disabled = not self._id
        self._notes = RunNotes(self._id)
        self._play: Any = None

    def v2_playbook_on_start(self, playbook: Any) -> None:
        self._notes.playbook = os.path.basename(str(playbook._file_name))
        self._notes.check = bool(context.CLIARGS.get("check"))
        signal.signal(signal.SIGTERM, self._stopped)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._play = play

    def v2_playbook_on_no_hosts_matched(self) -> None:
        self._notes.failure = self._notes.failure or "No host matched: nothing was run."

    def v2_runner_on_ok(self, result: Any) -> None:
        self._note("ok", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._note("failed", result, ignore_errors)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._note("unreachable", result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        failed = bool(stats.failures or stats.dark or not stats.processed)
        where, problems = run_record.keep(self._notes, failed, self._variables())
        for problem in problems:
            self._display.warning(problem)
        line = self._notes.line(failed)
        self._say("failed" if failed else "ok", " ".join([line, *problems]), where)

    def _note(self, status: str, result: Any, ignored: bool = False) -> None:
        self._notes.note(
            status,
            result._host.get_name(),
            result._task.get_name(),
            str(result._task.action),
            result._result,
            ignored,
        )

    def _variables(self) -> Mapping[str, Any]:
        """Those that say where the repository is, of the play's first host; templates in them carried out."""
        if self._play is None:
            return {}
        manager = self._play.get_variable_manager()
        hosts = manager._inventory.get_hosts(self._play.hosts) if manager._inventory else []
        known = manager.get_vars(play=self._play, host=hosts[0] if hosts else None)
        templar = Templar(loader=self._play.get_loader(), variables=known)
        names = ("holdfast_repository", "holdfast_repositories", "holdfast_server_name", "inventory_hostname")
        return {name: templar.template(known[name]) for name in names if known.get(name) is not None}

    def _say(self, status: str, line: str, where: Optional[RunKey]) -> None:
        if not self._path:
            return
        try:
            Path(self._path).write_bytes(run_record.termination(status, self._notes, line, where))
        except OSError as exc:
            self._display.warning(f"{self._path} cannot be written: {exc.strerror}")

    def _stopped(self, number: int, _frame: Any) -> None:
        """Ansible would end at once, and the container with it, in the middle of what a module clears up: its lock would stay."""
        signal.signal(number, signal.SIG_IGN)
        everyone = _descendants(os.getpid())
        self._say("stopped", "The run was stopped (SIGTERM), as its pod had to end. What it had finished stays.", None)
        for pid in _children(os.getpid()):  # a worker hands it on to its process group
            with suppress(OSError):
                os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + CLEARING_UP
        while time.monotonic() < deadline and any(_is_alive(pid) for pid in everyone):
            time.sleep(0.05)
        os._exit(128 + number)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            found += map(int, path.read_text(encoding="ascii").split())
    return found


def _descendants(pid: int) -> list[int]:
    return [one for child in _children(pid) for one in (child, *_descendants(child))]


def _is_alive(pid: int) -> bool:
    try:
        # The state stands behind the name, which may have blanks; a zombie has ended.
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(") ")[2][:1] != "Z"
    except OSError:
        return False
