# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server's configuration reads, and what is not there (CASES 1.56)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Optional

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.server.configuration import (
    Configuration,
    read_rules,
    read_settings,
    references,
)


class Known:
    """Files that are a table; an empty directory ends with a slash."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files

    def read(self, path: str) -> Optional[str]:
        return self._files.get(path)

    def names(self, path: str) -> Optional[Sequence[str]]:
        inside = [name[len(path) + 1 :] for name in self._files if name.startswith(path + "/")]
        return sorted({name.split("/")[0] for name in inside if name}) if inside else None


def test_every_way_to_include() -> None:
    known = {
        "/d/postgresql.conf": "port = 1\ninclude 'sub/one.conf'\nInclude_If_Exists = '/etc/two.conf'\n"
        "include_if_exists nowhere.conf\ninclude_dir 'conf.d' # why\ninclude_dir 'empty.d'\n#include 'no.conf'\nwork_mem = '1MB'\n",
        "/d/sub/one.conf": "include 'nested.conf'\nport = 2\n",
        "/d/sub/nested.conf": "port = 3\nmax_connections = 7\n",
        "/etc/two.conf": "port = 4\n",
        "/d/conf.d/b.conf": "port = 6\n",
        "/d/conf.d/a.conf": "port = 5\ninclude '../missing.conf'\n",
        "/d/conf.d/.hidden.conf": "port = 9\n",
        "/d/conf.d/c.txt": "port = 9\n",
        "/d/empty.d/": "",
    }
    found = read_settings(Known(known), ["/d/postgresql.conf"])
    assert found.settings == {"max_connections": "7", "port": "6", "work_mem": "1MB"}
    assert set(found.files) == {name for name in known if name.endswith(".conf") and "hidden" not in name}
    assert found.directories == ["/d/conf.d", "/d/empty.d"]
    assert [(lack.path, lack.by, lack.line) for lack in found.missing] == [("/d/missing.conf", "/d/conf.d/a.conf", 1)]


def test_what_includes_itself_ends() -> None:
    found = read_settings(Known({"/d/a": "include 'a'\nport = 1\n"}), ["/d/a"])
    assert found.settings == {"port": "1"} and not found.missing


def test_rules_for_clients() -> None:
    known = {
        "/d/pg_hba.conf": '# include no.conf\nlocal all @admins peer\nhost "@not a list",@"two words" all ::1/128 md5\n'
        'include more/hba.conf\ninclude_dir "hba d"\ninclude_if_exists nothing\nlocal include all peer\n',
        "/d/admins": "alice\n@more_admins\n",
        "/d/more/hba.conf": "include missing.conf\n",
        "/d/hba d/1.conf": "local all all peer\n",
    }
    found = Configuration()
    read_rules(Known(known), "/d/pg_hba.conf", found)
    assert set(found.files) == set(known) and found.directories == ["/d/hba d"]
    assert [lack.path for lack in found.missing] == ["/d/more_admins", "/d/two words", "/d/more/missing.conf"]


@pytest.mark.parametrize(
    ("text", "rules", "expected"),
    [
        ("include 'it''s.conf'\n", False, [("include", "/d/it's.conf")]),
        ("include ''\n", False, []),
        ("included = 'x'\n", False, []),
        ("includes x\n", True, []),
        ("local a,@b,c @d peer # @e\n", True, [("@", "/d/b"), ("@", "/d/d")]),
        ("map x@example.com y\n", True, []),
        ("@\n", True, []),
    ],
)
def test_what_a_line_names(text: str, rules: bool, expected: list[tuple[str, str]]) -> None:
    assert [(found.kind, found.path) for found in references(text, "/d/main", rules)] == expected
