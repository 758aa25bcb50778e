# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a schedule that is there and never runs, or failed, and nobody says so. systemctl is a script here: this asks what its answers mean;
that timers run is tested with a real systemd."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.status.schedules import Schedule, expected_every, look

SAYS = """#!/bin/sh
[ "$TZ" = UTC ] || exit 1
case "$2" in
gone.timer) echo LoadState=not-found; echo ActiveState=inactive ;;
off.timer) echo LoadState=loaded; echo ActiveState=inactive; echo NextElapseUSecRealtime= ;;
*.timer) echo LoadState=loaded; echo ActiveState=active; echo "TimersCalendar={ OnCalendar=Mon..Fri 02:30 ; next_elapse=x }"
    echo "NextElapseUSecRealtime=Thu 2026-11-26 02:30:00 UTC" ;;
bad.service) echo Result=exit-code; echo ExecMainStatus=2 ;;
*.service) echo Result=success; echo ExecMainStatus=0 ;;
esac
"""

# As systemd 252 answers where TZ is UTC.
ANALYZES = """#!/bin/sh
[ "$1 $2 $3" = "calendar --iterations=8 Mon..Fri 02:30" ] || exit 1
echo "Normalized form: Mon..Fri *-*-* 02:30:00"
echo "    Next elapse: Thu 2026-11-26 02:30:00 UTC"
echo "       From now: 3h left"
echo "   Iteration #2: Fri 2026-11-27 02:30:00 UTC"
echo "       From now: 1 day 3h left"
echo "   Iteration #3: Mon 2026-11-30 02:30:00 UTC"
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("bin", "schedules", "cron"):
        (tmp_path / name).mkdir()
    for name, text in (("systemctl", SAYS), ("systemd-analyze", ANALYZES)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    return tmp_path


def schedule(host: Path, name: str, server: str = "db1") -> None:
    (host / f"schedules/{name}.json").write_text(json.dumps({"holdfast_server_name": server}))


def test_what_systemd_says(host: Path) -> None:
    for name in ("good", "bad", "off", "gone"):
        schedule(host, name)
    schedule(host, "another", "db2")
    found, unknown = look("db1", str(host / "schedules"), str(host / "cron"))
    assert unknown is None
    by_name = {entry.name: entry for entry in found}
    assert set(by_name) == {"good", "bad", "off", "gone"}
    assert "neither a timer nor a line of cron" in str(by_name["gone"].idle)
    assert by_name["good"].next_run == datetime.datetime(2026, 11, 26, 2, 30, tzinfo=datetime.timezone.utc)
    assert by_name["good"].failed is None and by_name["good"].idle is None
    assert by_name["bad"].failed == "exit-code, exit status 2"
    assert by_name["off"].idle and by_name["off"].next_run is None
    assert by_name["good"].describe()["next_run"] == "2026-11-26T02:30:00Z"


def test_what_cron_runs(host: Path) -> None:
    schedule(host, "nightly")
    (host / "cron/nightly").write_text("# x\nPATH=/usr/bin:/bin\n30 2 * * * root /x.sh --from-cron\n")
    ((only,), _unknown) = look("db1", str(host / "schedules"), str(host / "cron"))
    assert (only.by, only.next_run) == ("cron (30 2 * * *)", None)


def test_what_cannot_be_read_is_not_known(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert look("db1", str(host / "nowhere"), str(host / "cron")) == ([], None)
    (host / "schedules/x.json").write_text("{")  # as good as one of mode 0600
    (host / "bin/systemctl").write_text("#!/bin/sh\nexit 1\n")
    found, unknown = look("db1", str(host / "schedules"), str(host / "cron"))
    assert found == [] and unknown and "cannot be read" in unknown
    monkeypatch.setenv("PATH", str(host))  # no systemd at all
    assert look("db1", str(host / "schedules"), str(host / "cron"))[0] == []


def test_who_does_not_answer_says_nothing_of_a_schedule(host: Path) -> None:
    schedule(host, "nightly")
    (host / "bin/systemctl").write_text("#!/bin/sh\nexit 1\n")
    found, unknown = look("db1", str(host / "schedules"), str(host / "cron"))
    assert found == [] and unknown and "not told by systemctl" in unknown


def test_how_often_a_backup_is_expected(host: Path) -> None:
    """By what makes backups, and runs: not by an audit, nor by one that never runs."""
    for name, playbook in (("holdfast-backup-db1", ""), ("weekly", "backup"), ("hourly", "audit"), ("off", "backup")):
        schedule(host, name)
        if playbook:
            (host / f"schedules/{name}.sh").write_text(f"exec ansible-playbook holdfast.postgres.{playbook}\n")
    (host / "cron/weekly").write_text("30 1 * * 0 root /x.sh --from-cron\n")
    (host / "cron/hourly").write_text("7 * * * * root /x.sh --from-cron\n")
    found, _unknown = look("db1", str(host / "schedules"), str(host / "cron"))
    assert {entry.name: entry.every for entry in found if entry.every} == {
        "holdfast-backup-db1": 3 * 86400,  # over a weekend
        "weekly": 7 * 86400,
    }
    assert expected_every(found) == 3 * 86400 + 3600
    assert expected_every([entry for entry in found if entry.name == "weekly"]) == 7 * 86400 + 3600
    assert expected_every([Schedule("x", "x.timer")]) is None
