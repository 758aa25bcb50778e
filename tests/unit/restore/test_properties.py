# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a database is apart from its contents."""

from __future__ import annotations

from typing import Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.restore import properties


@pytest.mark.parametrize(
    ("clause", "collate", "ctype", "provider"),
    [
        ("LOCALE = 'C'", "C", "C", None),
        ("ENCODING = 'UTF8' LC_COLLATE = 'de_DE.UTF-8' LC_CTYPE = 'C'", "de_DE.UTF-8", "C", None),
        ("LOCALE = 'English_United States.1252'", "English_United States.1252", "English_United States.1252", None),
        ("LC_COLLATE = 'a''b' LC_CTYPE = C", "a'b", "C", None),
        ("LOCALE_PROVIDER = icu LOCALE = 'en_US.UTF-8'", "en_US.UTF-8", "en_US.UTF-8", "i"),
        ("LOCALE_PROVIDER = builtin LOCALE = 'C.UTF-8'", "C.UTF-8", "C.UTF-8", "b"),
        ("ENCODING = 'UTF8'", None, None, None),
    ],
)
def test_locales_of_a_clause(
    clause: str, collate: Optional[str], ctype: Optional[str], provider: Optional[str]
) -> None:
    """Windows' locales have blanks; found: half of one in the message."""
    found = properties._of_clause(f"WITH TEMPLATE = template0 {clause}")
    assert found == {"collate": collate, "ctype": ctype, "locale_provider": provider}
