# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: what could not be looked at is taken for what is not there. Members: the old database takes no connections, or not ours. Found: its
publications and the owners of its extensions counted as none, and nobody heard that they went."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import ServerError
from ansible_collections.holdfast.postgres.plugins.module_utils.restore import belongings


class Closed:
    """A server whose database nobody can look into."""

    connection = None

    def __init__(self, opened: bool) -> None:
        self.address, self._opened = self, opened

    def is_open(self, name: str) -> bool:
        return self._opened

    def connect(self, name: str) -> Any:
        raise ServerError("no entry in pg_hba.conf.")


@pytest.mark.parametrize(
    ("opened", "told"), [(True, "(no entry in pg_hba.conf)"), (False, "(it takes no connections)")]
)
def test_what_nobody_could_look_into_is_said(opened: bool, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(belongings, "rows", lambda *given: [])
    monkeypatch.setattr(belongings, "value", lambda *given: "")
    found = belongings.survey(Closed(opened), "shop")  # type: ignore[arg-type]
    assert told in found.unproven()[0]
    assert not belongings.Belongings("shop").unproven()
