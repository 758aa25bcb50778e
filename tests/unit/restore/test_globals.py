# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles and tablespaces fitted to a server (rows 2.3 and 2.7).

The kind: what is restored for all locks out who restores, or ignores what was asked for. Members: the role that is logged in, other
superusers, quoted names, settings, role_map, no_owner, no_privileges, tablespaces that are there.
"""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.restore.globals import Fitting, fit

SCRIPT = """
CREATE ROLE "the app";
ALTER ROLE "the app" WITH NOSUPERUSER LOGIN PASSWORD 'SCRAM;--''x';
CREATE ROLE me;
ALTER ROLE me WITH SUPERUSER LOGIN PASSWORD 'other';
ALTER ROLE me SET search_path TO 'x';
CREATE ROLE boss;
ALTER ROLE boss WITH NOSUPERUSER NOLOGIN;
CREATE ROLE fresh;
ALTER ROLE fresh WITH LOGIN;
COMMENT ON ROLE "the app" IS 'ALTER ROLE me';
GRANT "the app" TO fresh WITH INHERIT TRUE GRANTED BY me;
CREATE TABLESPACE fast OWNER "the app" LOCATION E'/old';
GRANT ALL ON TABLESPACE fast TO "the app";
GRANT SET ON PARAMETER log_min_messages TO "the app";
"""


def fitted(**options: Any) -> tuple[list[str], Fitting]:
    fitting = Fitting(**{"login": "me", "roles": {"me": True, "boss": True, "old": False}, **options})
    return [line for line in fit(SCRIPT, fitting).splitlines() if line], fitting


def test_nobody_is_locked_out() -> None:
    lines, fitting = fitted()
    assert [line for line in lines if "me " in line and "GRANT" not in line] == [
        "ALTER ROLE me SET search_path TO 'x';"
    ]
    assert not any("boss" in line for line in lines)
    assert (fitting.kept, fitting.unnamed) == (["me", "boss"], ["fresh"])
    assert any("superuser_passwords" in note for note in fitting.notes()) and any(
        "'fresh'" in note for note in fitting.notes()
    )
    assert (
        "CREATE ROLE fresh;" in lines
        and "ALTER ROLE \"the app\" WITH NOSUPERUSER LOGIN PASSWORD 'SCRAM;--''x';" in lines
    )


def test_who_asks_for_it_gets_other_passwords() -> None:
    lines, fitting = fitted(overwrite=True)
    assert (
        "ALTER ROLE me WITH SUPERUSER LOGIN PASSWORD 'other';" in lines
        and "ALTER ROLE boss WITH NOSUPERUSER NOLOGIN;" in lines
    )
    assert "CREATE ROLE me;" not in lines and fitting.kept == []


def test_other_roles_reach_everything() -> None:
    lines, _fitting = fitted(role_map={"the app": 'new"er'})
    assert not any("the app" in line for line in lines)
    assert 'GRANT "new""er" TO fresh WITH INHERIT TRUE GRANTED BY me;' in lines
    assert 'CREATE TABLESPACE fast OWNER "new""er" LOCATION E\'/old\';' in lines
    assert 'GRANT ALL ON TABLESPACE fast TO "new""er";' in lines


def test_no_owner_and_no_privileges_reach_tablespaces() -> None:
    lines, _fitting = fitted(no_owner=True, no_privileges=True)
    assert "CREATE TABLESPACE fast  LOCATION E'/old';" in lines
    assert [line for line in lines if line.startswith("GRANT")] == [
        'GRANT "the app" TO fresh WITH INHERIT TRUE GRANTED BY me;'
    ]


def test_tablespaces_go_elsewhere_or_are_there() -> None:
    lines, _fitting = fitted(locations={"fast": "/new's"})
    assert "CREATE TABLESPACE fast OWNER \"the app\" LOCATION '/new''s';" in lines
    lines, _fitting = fitted(tablespaces=frozenset({"fast"}))
    assert not any(line.startswith("CREATE TABLESPACE") for line in lines)


@pytest.mark.parametrize(
    "line", ["CREATE USER MAPPING FOR me SERVER x;", "ALTER ROLE me IN DATABASE a SET b TO 'c';", "SET a = b;"]
)
def test_what_stays_as_it_is(line: str) -> None:
    assert fit(line, Fitting("me", {"me": True})) == line
