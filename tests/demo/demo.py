# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup, a disaster and a restore on a throwaway server, by the playbooks, with proof. `make demo` runs it."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / "tests"))

from lab import compare, harddata  # noqa: E402
from lab.playbooks import PlaybookResult, run_playbook  # noqa: E402
from lab.servers import Server, of_the_machine  # noqa: E402

VICTIM = "shop"


def say(step: str, words: str = "") -> None:
    print(f"  {step:<26} {words}", flush=True)


def human(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def play(name: str, variables: dict[str, Any], module: str) -> tuple[dict[str, Any], float]:
    """Run a playbook as a user would, and return its module's result and the seconds of the whole run."""
    began = time.monotonic()
    run: PlaybookResult = run_playbook(CHECKOUT / "playbooks" / f"{name}.yml", variables)
    if run.returncode:
        raise SystemExit(f"playbooks/{name}.yml failed:\n{run.stdout}\n{run.stderr}")
    result = run.of(f"holdfast.postgres.{module}")[0]
    result["play_changed"] = bool(run.changed)
    return result, time.monotonic() - began


def second_act(server: Server, server_side: dict[str, Any]) -> None:
    """An accidental DROP TABLE, undone to the second before."""
    print("\n  Act two: any moment\n")
    archive = server.server_directory("archive")  # the server itself writes there
    common = {**server_side, "holdfast_repository": {"type": "file", "path": str(archive)}}
    setup = {
        **common,
        "holdfast_setup_owner": server.owner,  # who runs the demo is another user
        "holdfast_setup_archiving": True,
        "holdfast_archive_restart": True,
        "holdfast_archive_restart_command": server.restart_command(),
    }
    made, seconds = play("setup", setup, "pg_backup")
    say(
        "playbooks/setup.yml",
        f"archives WAL, and has a first backup of the whole server ({seconds:.1f} s with Ansible)",
    )
    again, seconds = play("setup", setup, "pg_backup")
    say("setup.yml again", f"{'CHANGED' if again['play_changed'] else 'nothing to do'} ({seconds:.1f} s with Ansible)")
    if again["play_changed"]:
        raise SystemExit("A second run of setup changed something.")

    server.query(
        "CREATE TABLE act_two AS SELECT g AS id, md5(g::text) AS what FROM generate_series(1, 100000) g", db=VICTIM
    )
    server.query("INSERT INTO act_two SELECT g, 'the last minute' FROM generate_series(100001, 100500) g", db=VICTIM)
    fingerprint = "SELECT count(*), md5(string_agg(id || what, ',' ORDER BY id)) FROM act_two"
    before = server.query(fingerprint, db=VICTIM)[0]
    time.sleep(1.1)
    moment = server.query("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")[
        0
    ][0]
    time.sleep(1.1)
    server.query("DROP TABLE act_two", db=VICTIM)
    server.query("SELECT pg_switch_wal()")
    say(
        "the accident", f"DROP TABLE act_two, {before[0]} rows; somebody remembers that all was well at {moment[11:19]}"
    )

    recover = {
        **common,
        "holdfast_data_directory": str(server.data),
        "holdfast_recovery_target": {"time": moment},
        "holdfast_recover_stop_server": True,
        "holdfast_recover_force": True,
        "holdfast_recover_confirm": [str(server.data)],
    }
    done, seconds = play("recover", recover, "pg_recover")
    landed = done["recovery"]
    say("playbooks/recover.yml", f"recovered in {done['elapsed']:.1f} s ({seconds:.1f} s with Ansible)")
    say("", landed["why"])
    say("", f"to {landed['lsn']} on timeline {landed['timeline']}, the last transaction of {landed['commit_time']}")
    if server.query(fingerprint, db=VICTIM)[0] != before:
        raise SystemExit("The table is not as it was.")
    say("proof", f"the table is back, all {before[0]} rows with the same sum")
    once_more, seconds = play("recover", recover, "pg_recover")
    say(
        "recover.yml again",
        f"{'CHANGED' if once_more['play_changed'] else 'nothing to do'} ({seconds:.1f} s with Ansible)",
    )
    if once_more["play_changed"]:
        raise SystemExit("A second run of recover changed something.")
    say("the old server", f"was moved aside, not deleted: {landed['kept'][0]}")
    third_act(server, common)


def third_act(server: Server, common: dict[str, Any]) -> None:
    """The first backup of the whole server, proven by a drill, and a page to show."""
    print("\n  Act three: proof\n")
    scratch = server.server_directory("scratch")
    drill = {
        **{name: value for name, value in common.items() if not name.startswith("holdfast_login")},
        "holdfast_owner": server.owner,
        "holdfast_engine": "pg_basebackup",
        "holdfast_drill_scratch_dir": str(scratch),
        "holdfast_drill_target": "random",
        "holdfast_drill_low_priority": False,
        "holdfast_drill_rto": "1h",
        "holdfast_drill_amcheck": "quick" if server.has_extension("amcheck") else "none",
    }
    done, seconds = play("drill", drill, "pg_drill")
    found = done["evidence"]
    rows = [*found["checks"], *found["assertions"]]
    say(
        "playbooks/drill.yml",
        f"{found['verdict']}: {found['backup']['id']}, {len(rows)} checks ({seconds:.1f} s with Ansible)",
    )
    say(
        "",
        f"recovered to {found['target']['asked']}, drawn by chance, and written to within {found['measured']['rto_seconds']:.1f} s",
    )
    say("the evidence", done["evidence_at"])
    if found["verdict"] != "pass":
        raise SystemExit(f"The drill did not pass: {found['reasons']}")
    page = CHECKOUT / ".work" / "demo.html"
    page.unlink(missing_ok=True)
    report = {**common, "holdfast_engine": "pg_basebackup", "holdfast_report_dest": str(page)}
    _looked, seconds = play("report", report, "backup_report")
    if found["id"] not in page.read_text():
        raise SystemExit(f"The report {page} does not have the drill {found['id']}.")
    say("playbooks/report.yml", f"all of it on a page ({seconds:.1f} s with Ansible), which stays:")
    say("", str(page))


def main() -> None:
    with Server(of_the_machine()) as server, tempfile.TemporaryDirectory(prefix="holdfast-demo-") as repository:
        print(f"\nholdfast.postgres demo: PostgreSQL {server.installation.version} from {server.bindir}\n")
        data = harddata.build(server)
        size = int(server.query("SELECT sum(pg_database_size(oid)) FROM pg_database WHERE NOT datistemplate")[0][0])
        say("data that is hard", f"{len(data.databases)} databases, {human(size)}, {len(data.roles)} roles")
        before = compare.snapshot(server)
        server_side = {
            **{f"holdfast_{key}": value for key, value in server.login().items()},
            "holdfast_bin_dir": str(server.bindir),
            "holdfast_server_name": "demo",
            "holdfast_repository": {"type": "file", "path": repository},
        }
        backup = {**server_side, "holdfast_backup_max_age": "1h"}
        restore = {**server_side, "holdfast_restore_databases": [VICTIM]}

        made, seconds = play("backup", backup, "pg_backup")
        record = made["backup"]
        rate = (record["raw_size"] or 0) / made["elapsed"]
        say("playbooks/backup.yml", f"{record['id']} in {made['elapsed']:.1f} s ({seconds:.1f} s with Ansible)")
        say("", f"{human(record['raw_size'] or 0)} of dumps at {human(rate)}/s, stored as {human(record['size'])}")
        say(
            "",
            f"read back and compared: {len(record['artifacts'])} artifacts, {record['consistency']['across_databases']}",
        )

        server.query(f'DROP DATABASE "{VICTIM}"')
        say("the disaster", f"DROP DATABASE {VICTIM}")

        done, seconds = play("restore", restore, "pg_restore")
        restored = done["restored"][0]
        say("playbooks/restore.yml", f"{VICTIM} is back in {restored['seconds']:.1f} s ({seconds:.1f} s with Ansible)")
        say("", f"{restored['tables_checked']} tables have the rows that the backup recorded")

        differences = compare.compare(before, compare.snapshot(server))
        if differences:
            raise SystemExit("The server is not as it was:\n" + "\n".join(map(str, differences)))
        say("proof", "every database, row, sequence, role and privilege is as it was (compared by other means)")

        again, seconds = play("backup", backup, "pg_backup")
        say(
            "backup.yml again",
            f"{'CHANGED' if again['play_changed'] else 'nothing to do'} ({seconds:.1f} s with Ansible)",
        )
        once_more, seconds = play("restore", restore, "pg_restore")
        say(
            "restore.yml again",
            f"{'CHANGED' if once_more['play_changed'] else 'nothing to do'} ({seconds:.1f} s with Ansible)",
        )
        if again["play_changed"] or once_more["play_changed"]:
            raise SystemExit("A second run changed something.")
        where = Path(repository) / "demo" / record["id"]
        say("it lay in", f"{where}, with RESTORE.txt: {len((where / 'RESTORE.txt').read_text().splitlines())} lines")
        second_act(server, server_side)
    shutil.rmtree(repository, ignore_errors=True)
    print("\nEverything was restored, nothing is left running.\n")


if __name__ == "__main__":
    main()
