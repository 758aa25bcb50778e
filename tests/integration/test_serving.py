# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: what a recovery in a cluster says of the server as its clients reach it, and what is not so.

Members: the last segment in the archive; there by its beginning alone, as pg_receivewal is still at it; nobody receives it; the archive, or the server, is not
reached from here, or has another password; what answers afterwards is what was recovered, another server, or another life of it.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery import serving
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery.serving import Serving
from lab.answers import ok
from lab.playbooks import run_module
from lab.servers import Server
from lab.waiting import wait_until

NUMBERS = itertools.count(1)


class Site:
    """A server whose WAL comes into a directory, while that is wanted."""

    def __init__(self, server: Server) -> None:
        self.server, self.root = server, server.server_directory(f"repository-{next(NUMBERS)}")
        config = server.server_directory("config")
        config.chmod(0o755)
        self.warnings: list[str] = []
        given = {"repository": {"path": str(self.root)}, "streaming": True, "config_dir": str(config)}
        self._receiver = ok(run_module("wal_archive", {**server.client_options(), **given}))["receiver"]

    @contextmanager
    def receiving(self) -> Iterator[None]:
        before = [] if os.geteuid() else ["runuser", "-u", self._receiver["user"], "--"]
        with subprocess.Popen([*before, *self._receiver["command"]], cwd="/", start_new_session=True) as process:
            try:
                wait_until(lambda: self.server.query("SELECT 1 FROM pg_replication_slots WHERE active"), 30)
                yield
            finally:
                os.killpg(process.pid, signal.SIGTERM)

    def serving(self, **more: Any) -> Serving:
        repository = {"type": "file", "path": str(self.root)}
        params = {
            **self.server.login(),
            "login_unix_socket": None,
            "connect_params": {},
            "ssl_mode": None,
            "ca_cert": None,
        }
        self.warnings.clear()
        return Serving({**params, "repository": repository, "server_name": "main", **more}, self.warnings)

    def row(self) -> dict[str, Any]:
        system_id = self.server.query("SELECT system_identifier::text FROM pg_control_system()")[0][0]
        return {"system_id": system_id, "timeline": 1}


@pytest.fixture
def site(wiped: Callable[[Server | int], Server]) -> Iterator[Site]:
    made = Site(wiped(15))
    yield made
    made.server.query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active")


def test_the_last_segment_is_in_the_archive_or_it_is_said(site: Site) -> None:
    server, wal = site.server, site.root / "main" / "_wal"
    with site.receiving():
        server.psql("CREATE TABLE t (n int)")
        segment = site.serving().send_last(30)
        assert segment and (wal / segment).exists() and not site.warnings
        server.psql("INSERT INTO t VALUES (1)")
        wait_until(lambda: list(wal.glob("*.partial")), 30)
    (begun,) = (path.name for path in wal.glob("*.partial"))
    with pytest.raises(ServerError, match=rf"{begun[:24]}\) did not come into"):
        site.serving().send_last(1)
    for more, said in (
        ({"login_port": 1}, "could not be asked"),
        ({"login_password": "another"}, "could not be asked"),
        ({"repository": {"type": "file", "path": str(site.root / "away")}}, "not reached from here"),
        ({"server_name": "somebody"}, "has no WAL of somebody"),
    ):
        assert site.serving(**more).send_last(1) is None
        assert len(site.warnings) == 1 and said in site.warnings[0], site.warnings
    assert site.serving(login_host=None).send_last(1) is None and not site.warnings


def test_what_answers_is_compared(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "_LOOKS", 0.5)
    landed = site.row()
    assert "answers, on timeline 1" in site.serving().compare(landed).proven[0]
    for wrong in ({"system_id": "1"}, {"timeline": 2}, {"system_id": None}):
        with pytest.raises(ServerError, match="is not what was recovered"):
            site.serving().compare({**landed, **wrong})
    for more in ({"login_password": "another"}, {"login_port": 1}, {"login_host": None}):
        found = site.serving(**more).compare(landed)
        assert not found.proven and "That clients reach it" in found.unproven[0]
