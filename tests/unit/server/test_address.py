# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: secrets in arguments (3.3). libpq takes a password from a file, and that of a key from a connection string alone, which everybody on
the host can read among a program's arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.server.connection import Address

SECRET = "not to be seen"


def address(space: Path, **more: Any) -> Address:
    return Address({"login_db": "postgres", "login_host": "db", **more}, str(space))


@pytest.mark.parametrize("value", [SECRET, ""])
def test_a_key_s_password_is_refused_with_a_way_out(tmp_path: Path, value: str) -> None:
    with pytest.raises(BadOption, match="service file") as refused:
        address(tmp_path, connect_params={"sslpassword": value, "sslkey": "k"})
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("options", [{"login_password": SECRET}, {"connect_params": {"password": SECRET}}])
def test_a_password_is_in_no_connection_string(tmp_path: Path, options: dict[str, Any]) -> None:
    made = address(tmp_path, **options)
    assert SECRET not in str(made.__dict__.get("_parameters"))
    assert SECRET in "".join(path.read_text() for path in tmp_path.iterdir())
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ("[::1]", "::1"),
        ("[fe80::1%eth0]", "fe80::1%eth0"),
        ("db,[2001:db8::2]", "db,2001:db8::2"),
        ("::1", "::1"),
        ("db", "db"),
        ("[db]", "[db]"),
    ],
)
def test_an_address_in_brackets(tmp_path: Path, given: str, host: str) -> None:
    """libpq asks the resolver for "[::1]", and says that there is no such host."""
    made = address(tmp_path, login_host=given)
    assert made.host == host
    assert f"host={host}" in made.conninfo("postgres").replace("'", "")
