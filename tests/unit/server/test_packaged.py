# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Debian's layout tells by itself: where the data is, which configuration is whose.

The kind: one refusal after the other, for what the host could have been asked. Members: no directory is named, one or several are there, one at
the port; a configuration that includes another; one without a directory, or with a relative one.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.server.packaged import (
    Packaged,
    configuration_for,
    data_directory_of,
    packaged,
)

MAIN = Packaged("/var/lib/postgresql/15/main", "/etc/postgresql/15/main/postgresql.conf", 5432)
SHOP = Packaged("/srv/shop", "/etc/postgresql/16/shop/postgresql.conf", 5433)


@pytest.fixture
def root(tmp_path: Path) -> str:
    for where, text in {
        "15/main": "data_directory = '/var/lib/postgresql/15/main'\t\t# use data in another directory\n",
        "16/shop": "port = 1\ndata_directory = '/srv/shop'\ninclude_dir = 'conf.d'\n",
        "14/bare": "port = 5434\n",
        "13/near": "data_directory = 'data'\n",
    }.items():
        folder = tmp_path / "etc" / "postgresql" / where
        (folder / "conf.d").mkdir(parents=True)
        (folder / "postgresql.conf").write_text(text)
    (tmp_path / "etc/postgresql/16/shop/conf.d/port.conf").write_text("port = 5433\n")
    return str(tmp_path)


def test_what_is_there(root: str) -> None:
    assert packaged(root) == [MAIN, SHOP]
    assert packaged(root + "/nowhere") == []


def test_which_is_meant() -> None:
    assert data_directory_of([MAIN], None) == MAIN.data_directory
    assert data_directory_of([MAIN], 5999) == MAIN.data_directory  # a new standby's port can be another one
    assert data_directory_of([MAIN, SHOP], 5433) == SHOP.data_directory
    with pytest.raises(BadOption, match="/var/lib/postgresql/15/main \\(port 5432\\), /srv/shop \\(port 5433\\)"):
        data_directory_of([MAIN, SHOP], None)
    with pytest.raises(BadOption, match="^data_directory: .* no server in /etc/postgresql"):
        data_directory_of([], None)


def test_whose_a_configuration_is(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/srv/shop")
    assert configuration_for([MAIN, SHOP], str(link)) == SHOP.configuration
    assert configuration_for([MAIN, SHOP], "/srv/other") is None
