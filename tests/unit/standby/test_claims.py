# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a slot that a standby leaves on the server that it followed until now: it keeps WAL there for ever."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.claims import Claims
from ansible_collections.holdfast.postgres.plugins.module_utils.standby.presence import Endpoint


@pytest.mark.parametrize(
    ("slot", "conninfo", "told"),
    [
        ("mine", "host=10.0.0.1 port=5432 password=secret", "10.0.0.1:5432"),
        ("mine", "host=10.0.0.1,10.0.0.3 port=5432", "10.0.0.1:5432 or 10.0.0.3:5432"),
        ("mine", "host=10.0.0.2 port=5433", "10.0.0.2:5433"),
        ("mine", "host=10.0.0.2 port=5432", None),  # it stays with that one
        ("mine", "host=10.0.0.1,10.0.0.2 port=5432", None),
        ("", "host=10.0.0.1", None),
        (None, "host=10.0.0.1", None),
        ("mine", None, None),
        ("mine", "service=prod", None),  # nobody can tell where that leads
    ],
)
def test_a_slot_on_a_server_that_is_left_is_named(
    slot: Optional[str], conninfo: Optional[str], told: Optional[str]
) -> None:
    settings = {"primary_slot_name": slot, "primary_conninfo": conninfo}
    given: dict[str, Any] = {name: value for name, value in settings.items() if value is not None}
    request: Any = SimpleNamespace(directory="/data")
    upstream: Any = SimpleNamespace(at=Endpoint("10.0.0.2", 5432))
    said = Claims(request, upstream, None).left_behind(given)
    if told is None:
        assert said is None
    else:
        assert said and told in said and "pg_drop_replication_slot('mine')" in said and "secret" not in said
