# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a dashboard that is green of what was. Members: check mode; the same again; two servers of a host; a repository that went away; a full
disk; a server that is no more; no directory; a webhook that is told each hour, or
that is away. (Each value: unit/status/test_metrics.)"""

from __future__ import annotations

import datetime
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.shelf import Shelf
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.file.store import FileRepository
from lab.answers import ok, refused
from lab.fault import can_mount, small_filesystem
from lab.playbooks import CHECKOUT, PlaybookResult, run_module, run_playbook
from lab.records import lay
from lab.servers import Server
from prometheus_client.parser import text_string_to_metric_families

from .test_playbooks import variables


def monitor(given: dict[str, Any], *options: str) -> PlaybookResult:
    return run_playbook(CHECKOUT / "playbooks/monitor.yml", given, *options)


def read(path: Path) -> dict[str, float]:
    """By Prometheus' own client: the newest value of each name."""
    families = text_string_to_metric_families(path.read_text())
    return {sample.name: sample.value for family in families for sample in family.samples}


def test_what_prometheus_reads(pg15: Server, tmp_path: Path) -> None:
    repository, directory = tmp_path / "backups", tmp_path / "textfile"
    repository.mkdir(mode=0o700)
    directory.mkdir()
    given = {
        **variables(pg15, tmp_path), "holdfast_repository": {"path": str(repository)}, "holdfast_monitor_textfile_dir": str(directory),
        "holdfast_health_schedule_dir": str(tmp_path / "none"), "holdfast_health_expected_every": "25h",
    }  # fmt: skip
    made = {
        "repository": {"path": str(repository)},
        "server_name": "db1",
        "databases": ["postgres"],
        "bin_dir": str(pg15.bindir),
    }
    ok(run_module("pg_backup", {**pg15.login(), **made}))
    done = monitor(given)
    assert done.returncode == 0 and done.changed, done.stdout
    (path,) = directory.iterdir()
    assert path.name == "holdfast_db1.prom" and path.stat().st_mode & 0o777 == 0o644
    first = read(path)
    ended = first["holdfast_backup_last_success_timestamp_seconds"]
    assert 0 <= first["holdfast_scrape_timestamp_seconds"] - ended < 600 and first["holdfast_backup_size_bytes"] > 0
    assert first["holdfast_repository_free_bytes"] > 0 and first["holdfast_backup_expected_interval_seconds"] == 90000
    assert "holdfast_drill_last_success_timestamp_seconds" not in first


def test_a_repository_that_went_away_and_a_server_that_is_no_more(tmp_path: Path) -> None:
    repository, path = tmp_path / "backups", tmp_path / "holdfast_db1.prom"
    repository.mkdir(mode=0o700)
    lay(
        Shelf(FileRepository(str(repository)), "db1"),
        "b1",
        datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=2),
    )

    def look() -> bool:
        given = {"repository": {"path": str(repository)}, "server_name": "db1", "metrics": True}
        found = ok(run_module("backup_health", given))["metrics"]
        given = {"textfile_dir": str(tmp_path), "server_name": "db1", "metrics": found}
        changed: bool = ok(run_module("backup_metrics", given))["changed"]
        return changed

    assert look() and not look()
    assert read(path)["holdfast_repository_readable"] == 1
    repository.rename(tmp_path / "away")
    assert look()
    blind = read(path)
    assert blind["holdfast_repository_readable"] == 0 and blind["holdfast_status"] == 2
    assert not {"holdfast_backup_last_success_timestamp_seconds", "holdfast_backups"} & set(blind)
    gone = {"textfile_dir": str(tmp_path), "server_name": "db1", "state": "absent"}
    assert ok(run_module("backup_metrics", gone))["changed"] and not path.exists()
    assert not ok(run_module("backup_metrics", gone))["changed"]
    refused(run_module("backup_metrics", {"textfile_dir": str(tmp_path)}), "metrics")


@pytest.mark.skipif(not can_mount(), reason="may mount nothing")
def test_a_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    def write(at: int) -> Any:
        text = f'holdfast_scrape_timestamp_seconds{{server_name="db1"}} {at}\n'
        return run_module("backup_metrics", {"textfile_dir": str(disk), "server_name": "db1", "metrics": text})

    with small_filesystem(tmp_path / "disk", "64k") as disk:
        assert not write(1).failed
        kept = (disk / "holdfast_db1.prom").read_text()
        with (disk / "full").open("wb", buffering=0) as stream, pytest.raises(OSError):
            while stream.write(bytes(4096)):
                pass
        refused(write(2), "No space left on device", "What was there is as it was")
        assert (disk / "holdfast_db1.prom").read_text() == kept
        assert sorted(entry.name for entry in disk.iterdir()) == ["full", "holdfast_db1.prom"]


@contextmanager
def receiver(answer: int = 204) -> Iterator[tuple[str, list[tuple[str, dict[str, Any]]]]]:
    """A webhook: its URL, and what it was sent, with the header of authorization."""
    got: list[tuple[str, dict[str, Any]]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.headers.get("Authorization", ""), json.loads(body)))
            self.send_response(answer)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/secret-path", got
        server.shutdown()


@pytest.mark.extended
def test_a_webhook_is_told_once(tmp_path: Path) -> None:
    repository = tmp_path / "backups"
    repository.mkdir(mode=0o700)
    old = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=3)
    lay(Shelf(FileRepository(str(repository)), "db1"), "b1", old)
    off: dict[str, Any] = dict.fromkeys(("encrypted", "copies", "space"), False)
    given: dict[str, Any] = {
        "holdfast_repository": {"path": str(repository)},
        "holdfast_server_name": "db1", "holdfast_health_archiving": False, "holdfast_health_schedule_dir": str(tmp_path / "none"),
        "holdfast_monitor_textfile_dir": str(tmp_path), "holdfast_monitor_told_dir": str(tmp_path / "told"),
        "holdfast_monitor_webhook_token": "secret-token", "holdfast_health_rules": off,
    }  # fmt: skip
    with receiver() as (url, got):
        planned = monitor({**given, "holdfast_monitor_webhook_url": url}, "--check")
        assert planned.returncode == 0 and planned.changed and not got, planned.stdout
        assert [entry.name for entry in tmp_path.iterdir()] == ["backups"]
        bad = monitor({**given, "holdfast_monitor_webhook_url": url})
        assert bad.returncode == 0, bad.stdout
        ((authorization, body),) = got
        assert (
            authorization == "Bearer secret-token"
            and body["status"] == "critical"
            and body["alerts"][0]["code"] == "newest_backup"
        )
        same = monitor({**given, "holdfast_monitor_webhook_url": url})
        assert same.returncode == 0 and len(got) == 1 and not same.changed, same.changed
    well = {**given, "holdfast_health_rules": {**off, "newest_backup": {"max_age": "7d"}}}
    with receiver(500) as (url, refused_all):
        away = monitor({**well, "holdfast_monitor_webhook_url": url})
        assert away.returncode and "answered with 500" in away.stdout and len(refused_all) == 4, away.stdout
        assert read(tmp_path / "holdfast_db1.prom")["holdfast_status"] == 0
        assert not [word for word in ("secret-token", "secret-path") if word in away.stdout + away.stderr]
    with receiver() as (url, got):
        assert monitor({**well, "holdfast_monitor_webhook_url": url}).returncode == 0
        assert [body["resolved"] for _authorization, body in got] == [True]
