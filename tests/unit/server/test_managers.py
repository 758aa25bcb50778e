# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who else makes and promotes standbys on a host."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.server.managers import refuse_managed, told_of_repmgr


@pytest.mark.parametrize(
    ("libraries", "told"),
    (
        (None, 0),
        ("", 0),
        ("pg_stat_statements", 0),
        ("pg_stat_statements, repmgr", 1),
        ("repmgr", 1),
        ("repmgr_funcs", 0),
    ),
)
def test_repmgr(libraries: str | None, told: int) -> None:
    assert len(told_of_repmgr(libraries)) == told


@pytest.mark.parametrize("name", ("postgresql-auto-failover.conf", "postgresql-auto-failover-standby.conf"))
def test_pg_auto_failover(name: str, tmp_path: Path) -> None:
    refuse_managed(str(tmp_path))
    refuse_managed("")
    (tmp_path / name).touch()
    with pytest.raises(ServerError, match="pg_autoctl perform promotion"):
        refuse_managed(str(tmp_path))
