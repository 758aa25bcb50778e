# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When this host backs the server up next, and how the last scheduled run ended: asked of systemd, or read from cron's file."""

from __future__ import annotations

import datetime
import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from ansible_collections.holdfast.postgres.plugins.module_utils.cron import longest_gap
from ansible_collections.holdfast.postgres.plugins.module_utils.times import utcnow

_TIMEOUT = 10  # seconds for systemctl
_ITERATIONS = 8  # of a calendar: a week of days
_FOR_THE_RUN = 3600  # seconds, with what spreads its start
#: what starts a schedule of which only the variables are there
NOTHING = "nothing"


class _Silent(Exception):
    """systemctl does not answer."""


@dataclass(frozen=True)
class Schedule:
    """One schedule. ``next_run`` None: not known, or never; ``by`` is what starts it (a timer, the line of cron, a CronJob); ``failed``: how the
    last run ended badly, None: it did not, or nobody knows; ``idle``: why it never runs; ``every``: seconds between two of its runs at most,
    None: not known, or it makes no backups; ``missed``: which runs did not begin; ``goes_on``: it is no calendar's, and is to run all the time."""

    name: str
    by: str
    next_run: Optional[datetime.datetime] = None
    failed: Optional[str] = None
    idle: Optional[str] = None
    every: Optional[int] = None
    missed: Optional[str] = None
    in_cluster: bool = False
    goes_on: bool = False

    def describe(self) -> dict[str, Optional[str]]:
        """For a module's result; times in ISO 8601."""
        when = self.next_run.isoformat().replace("+00:00", "Z") if self.next_run else None
        return {
            "name": self.name,
            "by": self.by,
            "next_run": when,
            "failed": self.failed,
            "idle": self.idle,
            "missed": self.missed,
        }


def expected_every(schedules: Sequence[Schedule]) -> Optional[int]:
    """In how many seconds a good backup is expected, by the schedule that makes them most often, with an hour for the run itself. Pure."""
    gaps = [schedule.every for schedule in schedules if schedule.every is not None and schedule.idle is None]
    return min(gaps) + _FOR_THE_RUN if gaps else None


def look(server_name: str, config_dir: str, cron_dir: str) -> tuple[list[Schedule], Optional[str]]:
    """The schedules of a server on this host, as the role ``schedule`` writes them; and why they are not known (None: they are)."""
    names, unknown = _names(server_name, config_dir)
    found = []
    for name in names:
        line = _cron_line(os.path.join(cron_dir, name))
        try:
            makes = _makes_backups(os.path.join(config_dir, f"{name}.sh"), server_name)
            if line:
                schedule: Optional[Schedule] = Schedule(
                    name, f"cron ({line})", every=longest_gap(line, utcnow()) if makes else None
                )
            else:
                schedule = _of_systemd(name, makes)
        except _Silent as exc:
            unknown = unknown or str(exc)
            continue
        if schedule is not None:
            found.append(schedule)
        elif unknown is None:  # its variables are there, so somebody relies on it
            found.append(Schedule(name, NOTHING, idle="there is neither a timer nor a line of cron that starts it"))
    return found, None if found else unknown


def _names(server_name: str, config_dir: str) -> tuple[list[str], Optional[str]]:
    default = _default_name(server_name)
    try:
        files = sorted(name for name in os.listdir(config_dir) if name.endswith(".json"))
    except FileNotFoundError:
        return [], None
    except OSError as exc:
        return [default], f"{config_dir} cannot be read: {exc.strerror}"
    names, closed = [], 0
    for name in files:
        try:
            with open(os.path.join(config_dir, name), encoding="utf-8") as stream:
                if json.load(stream).get("holdfast_server_name") == server_name:
                    names.append(name[: -len(".json")])
        except (OSError, ValueError, AttributeError):
            closed += 1
    if names or not closed:
        return names, None
    return [default], f"the schedules in {config_dir} cannot be read by this user"


def _default_name(server_name: str) -> str:
    return "holdfast-backup-" + re.sub("[^A-Za-z0-9_-]", "-", server_name)


def _makes_backups(script: str, server_name: str) -> bool:
    """Whether a schedule runs the playbook of backups, by its script; where that may not be read, by its usual name."""
    try:
        with open(script, encoding="utf-8") as stream:
            return "holdfast.postgres.backup" in stream.read()
    except (OSError, ValueError):
        return os.path.basename(script) == f"{_default_name(server_name)}.sh"


def _cron_line(path: str) -> Optional[str]:
    try:
        with open(path, encoding="utf-8") as stream:
            lines = [line.split() for line in stream if re.match(r"\s*[\d*@]", line)]
    except (OSError, ValueError):
        return None
    fields = 1 if lines and lines[-1][0].startswith("@") else 5
    return " ".join(lines[-1][:fields]) if lines and len(lines[-1]) > fields else None


def _of_systemd(name: str, makes_backups: bool) -> Optional[Schedule]:
    timer = _show(f"{name}.timer", "LoadState", "ActiveState", "NextElapseUSecRealtime", "TimersCalendar")
    if "LoadState" not in timer:
        raise _Silent(f"whether {name} is started is not told by systemctl, and cron has no line of it")
    if timer.get("LoadState") != "loaded":
        return None
    service = _show(f"{name}.service", "Result", "ExecMainStatus")
    result = service.get("Result")
    failed = None
    if result and result != "success":
        failed = f"{result}, exit status {service.get('ExecMainStatus', 'unknown')}"
    active = timer.get("ActiveState") == "active"
    when = _time(timer.get("NextElapseUSecRealtime", "")) if active else None
    every = _gap_of_timer(timer.get("TimersCalendar", "")) if makes_backups else None
    return Schedule(name, f"{name}.timer", when, failed, None if active else "its timer is not started", every)


def _gap_of_timer(calendars: str) -> Optional[int]:
    """``{ OnCalendar=*-*-* 02:30:00 ; next_elapse=… }``, one a line: the longest of the next gaps of the first one; what else starts it makes
    it start more often."""
    found = re.search(r"OnCalendar=(.*?) ;", calendars)
    if found is None:
        return None
    said = _output(["systemd-analyze", "calendar", f"--iterations={_ITERATIONS}", found.group(1)])
    runs = [when for line in said.splitlines() if (when := _time(line)) is not None]
    return max((int((after - before).total_seconds()) for before, after in zip(runs, runs[1:])), default=None)


def _show(unit: str, *properties: str) -> Mapping[str, str]:
    said = _output(["systemctl", "show", unit, *(f"--property={name}" for name in properties)])
    pairs = (line.partition("=") for line in said.splitlines())
    return {name: value for name, _sign, value in pairs}


def _output(argv: list[str]) -> str:
    """What a program of systemd answers; nothing, where there is none. Times are in UTC."""
    try:
        run = subprocess.run(
            argv, capture_output=True, timeout=_TIMEOUT, env={**os.environ, "LC_ALL": "C", "TZ": "UTC"}, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return run.stdout.decode(errors="replace")


def _time(text: str) -> Optional[datetime.datetime]:
    """``Thu 2026-11-26 02:30:00 UTC``, as systemd writes it where TZ is UTC."""
    found = re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?= UTC)", text)
    return datetime.datetime.fromisoformat(f"{found.group()}+00:00") if found else None
