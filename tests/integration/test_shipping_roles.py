# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL into a store by the stock engine, as the roles set it up: archive with a receiver and a directory, and ship, once and as a service."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab import segments
from lab.answers import ok, refused, warned
from lab.playbooks import collections_path, run_module, run_playbook
from lab.servers import Server
from lab.stores import S3Server

CHECKOUT = Path(__file__).resolve().parents[2]


def store_of(s3: S3Server, bucket: str) -> dict[str, Any]:
    keys = {"access_key": s3.access_key, "secret_key": s3.secret_key, "region": s3.region}
    return {"type": "s3", "bucket": s3.make_bucket(bucket), "endpoint_url": s3.endpoint_url, **keys}


def test_the_stock_engine_and_a_store(wiped: Callable[[Server | int], Server], s3_plain: S3Server) -> None:
    """No longer refused, where a directory for the WAL is named; without one the words say what to do. That nothing ships yet is told."""
    server = wiped(15)
    store = store_of(s3_plain, "stock")
    given = {**server.client_options(), "repository": store, "engine": "pg_basebackup", "server_name": "shop"}
    refused(run_module("wal_archive", given), "wal_directory", "wal_ship")
    secret = {"encryption": {"method": "aes256", "passphrase": "secret"}}
    config = server.server_directory("config")
    near = {
        **given,
        "wal_directory": str(server.server_directory("near")),
        "config_dir": str(config),
        "streaming": True,
        **secret,
    }
    done = run_module("wal_archive", near)
    assert ok(done)["receiver"]["slot"] == "holdfast_shop" and "run the playbook ship" in warned(done)
    both = {
        **given,
        "repository": None,
        "repositories": [{"path": str(server.server_directory("disk"))}, store],
        "streaming": True,
    }
    del both["repository"]
    refused(run_module("wal_archive", {**both, **secret}), "encryption.method", "wal_directory")
    refused(run_module("wal_archive", {**near, "wal_directory": "relative"}), "relative")


@pytest.mark.extended
def test_the_roles(wiped: Callable[[Server | int], Server], s3_plain: S3Server, tmp_path: Path) -> None:
    server = wiped(15)
    near = server.server_directory("near role")
    variables: dict[str, Any] = {f"holdfast_{name}": value for name, value in server.login().items()} | {
        "holdfast_bin_dir": str(server.bindir),
        "holdfast_repository": store_of(s3_plain, "roles"),
        "holdfast_config_dir": str(server.server_directory("config of roles")),
        "holdfast_server_name": "shop",
        "holdfast_engine": "pg_basebackup",
        "holdfast_wal_directory": str(near),
        "holdfast_encryption": {"method": "aes256", "passphrase": "it's secret"},
        "holdfast_archive_streaming": True,
        "holdfast_archive_unit_dir": str(tmp_path),
        "holdfast_archive_unit": "receive",
        "holdfast_archive_unit_start": False,
        "holdfast_archive_prove": False,
        "holdfast_become_user": "root",
    }
    archive, ship = (CHECKOUT / "playbooks" / f"{name}.yml" for name in ("archive", "ship"))
    done = run_playbook(archive, variables)
    assert done.returncode == 0, done.stdout
    wal = near / "shop" / "_wal"
    assert wal.is_dir() and (tmp_path / "receive.service").exists()
    (wal / ".server.json").write_text(json.dumps({"system_id": str(segments.SYSTEM)}))
    names = segments.write(wal, range(3, 6))
    once = run_playbook(ship, {**variables, "holdfast_ship_keep": 1})
    assert once.returncode == 0 and "Shipped 3 files" in once.stdout, once.stdout
    assert not (wal / names[0]).exists() and (wal / names[-1]).exists()
    again = run_playbook(ship, {**variables, "holdfast_ship_keep": 1})
    assert again.returncode == 0 and "changed=0" in again.stdout, again.stdout

    service = {
        **variables,
        "holdfast_ship_service": True,
        "holdfast_ship_unit_dir": str(tmp_path),
        "holdfast_ship_unit_start": False,
        "holdfast_ship_config_dir": str(tmp_path / "told"),
        "holdfast_schedule_ansible_playbook": str(Path(sys.executable).parent / "ansible-playbook"),
        "holdfast_schedule_collections_path": str(collections_path()),
    }
    first = run_playbook(ship, service)
    assert first.returncode == 0, first.stdout
    unit = (tmp_path / "holdfast-ship-shop.service").read_text()
    told = tmp_path / "told" / "holdfast-ship-shop.json"
    assert "Restart=always" in unit and str(told) in unit and "secret" not in unit + first.stdout
    assert told.stat().st_mode & 0o777 == 0o600
    given = json.loads(told.read_text())
    assert given["holdfast_ship_follow"] is True and given["holdfast_encryption"] == variables["holdfast_encryption"]
    assert given["holdfast_wal_directory"] == str(near) and "holdfast_login_password" not in given
    second = run_playbook(ship, service)
    assert "changed=0" in second.stdout, second.stdout
    # What the service runs ships what comes, once it is told to do it once.
    segments.write(wal, range(6, 7))
    by_service = run_playbook("holdfast.postgres.ship", {**given, "holdfast_ship_follow": False})
    assert by_service.returncode == 0 and "Shipped 1 file" in by_service.stdout, by_service.stdout
    gone = run_playbook(ship, {**service, "holdfast_ship_state": "absent"})
    assert gone.returncode == 0 and not told.exists() and not (tmp_path / "holdfast-ship-shop.service").exists(), (
        gone.stdout
    )
