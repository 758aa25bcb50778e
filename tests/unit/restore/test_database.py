# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: who is alive. Members: a database that is marked and that nobody has locked, whose maker is dead, alive, on another host, unknown; with
somebody in it, or nobody. Found: without the lock it was dropped, though its maker had lost but one session, and was loading by others."""

from __future__ import annotations

import json
import os
from typing import Any, Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog.liveness import myself
from ansible_collections.holdfast.postgres.plugins.module_utils.restore import database
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.database import TargetServer

MARK = "holdfast.postgres restores this database; until it is done, it is not complete (5)"


def maker(**changes: Any) -> str:
    return f"; made by {json.dumps({**myself(''), **changes})}"


@pytest.mark.parametrize(
    ("who", "sessions", "left"),
    [
        ("", [], True),
        ("", ["somebody"], False),
        (maker(process_started="1"), ["an orphan"], True),
        (maker(process_started="1"), [], True),
        (maker(), ["its loader"], False),
        (maker(), [], False),
        (maker(boot_id="another"), [], True),
        (maker(boot_id="another"), ["its loader"], False),
        ("; made by {", ["somebody"], False),
    ],
)
@pytest.mark.parametrize("before", [None, "shop_before; made by 1"])
def test_whose_maker_may_live_is_no_leftover(
    who: str, sessions: list[str], left: bool, before: Optional[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    comment = MARK + who + (f"; its predecessor is now called {before}" if before else "")
    monkeypatch.setattr(database, "rows", lambda *given: [{"name": "shop", "comment": comment}])
    server = TargetServer.__new__(TargetServer)
    server.connection = None  # type: ignore[assignment]
    monkeypatch.setattr(TargetServer, "sessions", lambda *given: sessions)
    warnings: list[str] = []
    assert server.leftovers(warnings) == ([("shop", before)] if left else [])
    assert bool(warnings) is not left
    assert str(os.getpid()) in maker()
