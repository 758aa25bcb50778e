# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A chain is taken by a recovery and a standby only if each of its backups is what was signed.

Kind: absence of a proof taken for a proof. Members: a signature taken from the full backup, from the incremental one, from both. Found: a
warning of a recovery; nothing of a standby that is made of a backup. That it is found: test_sources.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.consent import Consent
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError
from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.agreed import need_signatures


@pytest.mark.parametrize("without", [(), ("b1",), ("b2",), ("b1", "b2")], ids=str)
def test_each_backup_of_a_chain(without: tuple[str, ...]) -> None:
    unsigned = [(name, CatalogError(f"{name} is not signed")) for name in without]
    warnings: list[str] = []
    request: Any = SimpleNamespace(accept_unsigned=False)
    plan = Consent(looking=True)
    need_signatures(unsigned, request, plan, warnings)
    assert plan.missing == ({"accept_unsigned": True} if without else {}) and not warnings
    if without:
        with pytest.raises(CatalogError, match=f"{without[0]} is not signed"):
            need_signatures(unsigned, request, Consent(), warnings)
        request.accept_unsigned = True
        need_signatures(unsigned, request, Consent(), warnings)
        assert len(warnings) == len(without)
