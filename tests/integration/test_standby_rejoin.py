# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The old primary comes back: what it brings along, and what pg_rewind would do to others.

The kinds: slots that keep WAL for ever (CASES 2.41); pg_rewind puts tablespaces where the primary has them, which on one host is the running
primary's own directory (2.14); half rewound looks whole.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from lab.answers import ok
from lab.playbooks import start_module
from lab.standbys import Pair
from lab.waiting import wait_until

pytestmark = pytest.mark.extended  # servers are made anew for each


def consent(pair: Pair) -> dict[str, Any]:
    return {"force": True, "confirm": [str(pair.primary.data)], "stop_server": True}


def part_ways(pair: Pair) -> None:
    """Both are primaries, and both were written to."""
    ok(pair.follow())
    ok(pair.ask("promoted", force=True, confirm=[f"127.0.0.1:{pair.primary.port}"]))
    pair.primary.psql("INSERT INTO t SELECT generate_series(100, 199)")
    pair.standby.psql("INSERT INTO t VALUES (3)")


def test_slots_that_are_for_nobody(pair: Pair) -> None:
    """Before: the old primary kept WAL for its former standby, by a slot that nobody was told of, until its disk was full."""
    primary, standby = pair.primary, pair.standby
    ok(pair.follow())
    primary.stop()
    ok(pair.ask("promoted", max_lag_bytes=0))
    planned = ok(pair.rejoin(check=True))
    back = ok(pair.rejoin())
    assert back["standby"]["method"] == "follow" and back["plan"] == planned["plan"]
    assert "to_standby" in str(back["warnings"]) and "drop_slots" in str(back["warnings"])
    told = ok(pair.rejoin())
    assert not told["changed"] and "to_standby" in str(told["warnings"])
    planned = ok(pair.rejoin(check=True, drop_slots=["to_standby", "never_there"]))
    done = ok(pair.rejoin(drop_slots=["to_standby", "never_there"]))
    assert done["plan"] == planned["plan"] and "to_standby" in done["plan"][-1] and done["changed"]
    assert primary.query("SELECT 1 FROM pg_replication_slots") == []
    again = ok(pair.rejoin(drop_slots=["to_standby"]))
    assert not again["changed"] and "drop_slots" not in str(again.get("warnings"))
    assert "is no name of a slot" in pair.rejoin(drop_slots=["a'b"]).msg
    assert standby.query("SELECT pg_is_in_recovery()") == [(False,)]


def test_a_tablespace_that_was_made_since(pair: Pair) -> None:
    """pg_rewind makes its link as the primary has it: to the running primary's own directory, where it fails half-way. Before: the old server was
    half rewound, and down; nothing else could be done as the map was not asked for."""
    primary, standby = pair.primary, pair.standby
    part_ways(pair)
    theirs, ours = primary.server_directory("since"), primary.directory / "since of the other"
    standby.psql(f"CREATE TABLESPACE since LOCATION '{theirs}'")
    standby.psql("CREATE TABLE u TABLESPACE since AS SELECT generate_series(1, 1000) AS n")
    standby.psql("CHECKPOINT")
    before = {path: path.read_bytes() for path in theirs.rglob("*") if path.is_file()}
    refused = pair.rejoin(**consent(pair))
    assert refused.failed and "is used by the server that runs in" in refused.msg and primary.pid is not None
    done = ok(pair.rejoin(**consent(pair), tablespace_locations={"since": str(ours)}))
    assert done["standby"]["method"] == "copy" and "has tablespaces that are not here (since)" in done["standby"]["why"]
    assert {path: path.read_bytes() for path in theirs.rglob("*") if path.is_file()} == before
    assert primary.query("SELECT count(*) FROM u") == standby.query("SELECT count(*) FROM u") == [(1000,)]


def programs(pair: Pair, folder: Path, rewind: str) -> Path:
    """The server's programs, with another pg_rewind."""
    folder.mkdir()
    for program in pair.primary.bindir.iterdir():
        (folder / program.name).symlink_to(program)
    (folder / "pg_rewind").unlink()
    (folder / "pg_rewind").write_text(f"#!/bin/sh\n{rewind}\n")
    (folder / "pg_rewind").chmod(0o755)
    return folder


@pytest.mark.parametrize("mapped", (False, True), ids=("plain", "tablespace"))
def test_a_rewind_that_was_interrupted(pair: Pair, mapped: bool) -> None:
    """Killed in the middle of it. Before: the next run rewound once more, what nobody vouches for; and a boot in between started what was half
    of two servers. Now a boot finds no server of that name, and afterwards one that PostgreSQL refuses to start.

    A tablespace that the user has elsewhere stays there when it is copied."""
    primary, standby = pair.primary, pair.standby
    place = primary.directory / "space of the old one"
    if mapped:
        primary.server_directory("space of the old one")
        primary.psql(f"CREATE TABLESPACE far LOCATION '{place}'")
        primary.psql("CREATE TABLE u TABLESPACE far AS SELECT 7 AS n")
        ok(pair.follow(tablespace_locations={"far": str(primary.directory / "space of the new one")}))
    part_ways(pair)
    slow = programs(pair, primary.directory / "slow", f'{primary.bindir}/pg_rewind --dry-run "$@"; sleep 60')
    hba = (primary.data / "pg_hba.conf").read_text() + "# mine\n"
    (primary.data / "pg_hba.conf").write_text(hba)
    options = pair.options(standby, primary, **{**consent(pair), "bin_dir": str(slow)})
    running = start_module("pg_standby", options)
    mark = Path(f"{primary.data}.holdfast-rewinding")
    aside = Path(f"{primary.data}.holdfast-rewound")
    assert wait_until(lambda: mark.exists() and aside.exists(), 60)
    running.kill()
    assert primary.pid is None and aside.exists() and not (aside / "standby.signal").exists()
    with pytest.raises(RuntimeError):
        primary.start()
    looked = ok(pair.rejoin(check=True))
    assert str(aside) in looked["plan"][0] and not primary.data.exists()
    refused = pair.rejoin()
    assert refused.failed and "a rewind of it was interrupted" in refused.msg
    assert not aside.exists()
    with pytest.raises(RuntimeError):
        primary.start()
    assert 'invalid data in file "backup_label"' in primary.log.read_text()
    planned = ok(pair.rejoin(check=True, **consent(pair)))
    done = ok(pair.rejoin(**consent(pair)))
    assert done["standby"]["method"] == "copy" and len(done["plan"]) == len(planned["plan"])
    assert (primary.data / "pg_hba.conf").read_text() == hba and not mark.exists()
    assert primary.query("SELECT sum(n) FROM t") == standby.query("SELECT sum(n) FROM t")
    assert not os.path.exists(f"{primary.data}.holdfast-own") and not ok(pair.rejoin())["changed"]
    if mapped:
        assert str(place) in str(primary.query("SELECT pg_tablespace_location(oid) FROM pg_tablespace"))
        assert primary.query("SELECT n FROM u") == [(7,)]


def test_a_rewind_that_fails_and_tablespaces_elsewhere(pair: Pair) -> None:
    """It is copied then, its tablespace to where its own link leads, and not to where the primary has it."""
    primary, standby = pair.primary, pair.standby
    place = primary.server_directory("space of the old one")
    primary.psql(f"CREATE TABLESPACE far LOCATION '{place}'")
    primary.psql("CREATE TABLE u TABLESPACE far AS SELECT 7 AS n")
    ok(pair.follow(tablespace_locations={"far": str(primary.directory / "space of the new one")}))
    part_ways(pair)
    broken = programs(
        pair, primary.directory / "broken", "echo 'pg_rewind: error: could not find previous WAL record' >&2; exit 1"
    )
    done = ok(pair.rejoin(**{**consent(pair), "bin_dir": str(broken)}))
    assert not list(primary.directory.glob("*.holdfast-rew*"))
    assert done["standby"]["method"] == "copy" and "is copied instead" in str(done["warnings"])
    assert str(place) in str(primary.query("SELECT pg_tablespace_location(oid) FROM pg_tablespace"))
    assert primary.query("SELECT n FROM u") == standby.query("SELECT n FROM u") == [(7,)]
    assert not ok(pair.rejoin())["changed"]
