# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose a configuration is, as far as it is known of either: asked before anything is written, by who archives and by a standby beside it."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.consent import Consent
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.ownership import Ownership
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import CatalogError
from ansible_collections.holdfast.postgres.plugins.module_utils.server.host import Host

ME = pwd.getpwuid(os.geteuid()).pw_name


def host(data: Path, system_id: str | None) -> Host:
    return Host(str(data), ME, 5432, "/tmp", "postgres", "/b", system_id=system_id)


@pytest.mark.parametrize(
    ("directory", "system_id", "anothers"),
    [
        ("one", "1", False),
        ("one", None, False),  # a server that does not run: its identity is not known
        ("two", None, True),  # a standby beside its primary
        ("two", "1", True),
        ("one", "2", True),
        ("link", "1", False),
    ],
)
def test_whose_it_is(directory: str, system_id: str | None, anothers: bool, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "one")
    params: dict[str, Any] = {"config_dir": str(tmp_path / "etc"), "server_name": "main", "encryption": None}
    owned = Ownership(params, host(tmp_path / "one", "1"))
    assert owned.known is None and not owned.is_anothers
    assert owned.claim(check=True) and not (tmp_path / "etc").exists()
    owned.claim(check=False)
    kept = tmp_path / "etc" / "main.owner.json"
    assert json.loads(kept.read_text())["data_directory"] == str((tmp_path / "one").resolve())
    other = Ownership(params, host(tmp_path / directory, system_id))
    assert other.is_anothers is anothers
    if anothers:
        with pytest.raises(CatalogError, match="Nothing was changed"):
            other.check()
    plan = Consent(looking=True)
    other.check(consent=plan)
    assert plan.missing == ({"accept_new_server": True} if anothers else {})
    other.check(accept_new_server=True)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "[" * 100_000])
def test_what_cannot_be_read_is_nobodys_to_take(content: str, tmp_path: Path) -> None:
    """The kind: an absence believed. A file that was cut off by a full disk was taken for none, and another server's configuration written over."""
    kept = tmp_path / "main.owner.json"
    kept.write_text(content)
    owned = Ownership({"config_dir": str(tmp_path), "server_name": "main", "encryption": None}, host(tmp_path, "1"))
    with pytest.raises(CatalogError, match="cannot be told"):
        owned.check(accept_new_server=True)
    with pytest.raises(CatalogError, match="Nothing was changed"):
        owned.claim(check=False)
    assert kept.read_text() == content
