# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every runbook, rehearsed on a throwaway server by its playbook, and one table of what came of it. `make rehearse` runs it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / "tests"))

from lab.playbooks import run_playbook  # noqa: E402
from lab.recoveries import SETTINGS, Archived  # noqa: E402
from lab.servers import Server, of_the_machine  # noqa: E402

ROWS = """
CREATE TABLE customers AS SELECT g AS id, md5(g::text) AS name FROM generate_series(1, 2000) g;
CREATE TABLE orders AS SELECT g AS id, g % 2000 + 1 AS customer, now() AS at FROM generate_series(1, 50000) g;
CREATE INDEX ON orders (customer);
"""
SCENARIOS = sorted(path.stem for path in (CHECKOUT / "playbooks/dr").glob("*.yml"))


def subject(scenario: str, server: Server) -> dict[str, Any]:
    """What a scenario is told beside what all are told."""
    role = yaml.safe_load((CHECKOUT / "roles/runbook/vars/main.yml").read_text())
    known = {
        "holdfast_restore_databases": ["shop"],
        "holdfast_restore_tables": ["orders"],
        "holdfast_data_directory": str(server.data),
    }
    return {name: known[name] for name in role["holdfast_runbook_scenarios"][scenario]["required"]}


def rehearse(scenario: str, server: Server, common: dict[str, Any]) -> dict[str, Any]:
    """The record of a rehearsal by the scenario's playbook. Raises SystemExit: it failed."""
    given = {**common, **subject(scenario, server), "holdfast_dr_mode": "rehearse"}
    run = run_playbook(CHECKOUT / "playbooks/dr" / f"{scenario}.yml", given)
    if run.returncode:
        raise SystemExit(f"playbooks/dr/{scenario}.yml failed:\n{run.stdout}\n{run.stderr}")
    record: dict[str, Any] = run.of("holdfast.postgres.runbook_record")[-1]["run"]
    return record


def seconds(value: Any) -> str:
    return "not measured" if value is None else f"{value:.1f} s"


def row(scenario: str, record: dict[str, Any]) -> list[str]:
    """A line of the table."""
    wanted, found = record["objectives"], record["measured"]
    return [
        scenario,
        f"{wanted['rto_seconds']:.0f} s",
        seconds(found["rto_seconds"]),
        f"{wanted['rpo_seconds']:.0f} s",
        seconds(found["rpo_seconds"]),
        record["verdict"],
    ]


def table(rows: list[list[str]]) -> str:
    """Rows in columns, the first one as the heading."""
    widths = [max(len(line[column]) for line in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in rows]
    return "\n".join(["  " + line for line in (lines[0], "  ".join("-" * width for width in widths), *lines[1:])])


def main() -> None:
    rows = [["scenario", "RTO", "measured", "RPO", "measured", "verdict"]]
    with Server(of_the_machine(), settings=SETTINGS) as server:
        print(
            f"\nholdfast.postgres rehearsal: PostgreSQL {server.installation.version} from {server.bindir}\n",
            flush=True,
        )
        server.psql("CREATE DATABASE shop")
        server.psql(ROWS, "shop")
        archived = Archived.of(server)
        archived.back_up(engine="pg_dump", databases=["shop"])
        common = {
            **{f"holdfast_{key}": value for key, value in server.login().items()},
            "holdfast_bin_dir": str(server.bindir),
            "holdfast_owner": server.owner,
            "holdfast_server_name": "main",
            "holdfast_repository": {"type": "file", "path": str(archived.repository)},
            "holdfast_drill_scratch_dir": str(server.server_directory("scratch")),
            "holdfast_drill_low_priority": False,
            "holdfast_drill_amcheck": "heapallindexed" if server.has_extension("amcheck") else "none",
        }
        before = server.run("pg_dump", db="shop")
        for scenario in SCENARIOS:
            server.query("INSERT INTO orders VALUES (0, 1, now())", db="shop")
            server.query("DELETE FROM orders WHERE id = 0", db="shop")
            archived.archive()
            record = rehearse(scenario, server, common)
            rows.append(row(scenario, record))
            print(f"  {scenario}: {record['verdict']}", flush=True)
        if _without_keys(server.run("pg_dump", db="shop")) != _without_keys(before):
            raise SystemExit("A rehearsal changed the server.")
    print(f"\n{table(rows)}\n\nThe server is as it was, and nothing is left running.\n")
    if any(line[-1] != "pass" for line in rows[1:]):
        raise SystemExit("Not every rehearsal passed.")


def _without_keys(text: bytes) -> list[bytes]:
    """A dump without the key that pg_dump draws by chance."""
    return [line for line in text.splitlines() if not line.startswith((b"\\restrict", b"\\unrestrict"))]


if __name__ == "__main__":
    main()
