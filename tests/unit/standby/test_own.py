# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server keeps its own configuration while another one's files come (CASES 1.56): whatever it reads, not what has a known name."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from ansible_collections.holdfast.postgres.plugins.module_utils.standby.own import OwnConfiguration


def server(directory: Path, name: str) -> None:
    texts = {
        "postgresql.conf": "include 'more/one.conf'\ninclude_dir 'conf.d'\nssl_key_file = 'tls/key.2024'\nhba_file = 'rules'\n"
        f"include '{directory}/absolute'\ninclude_if_exists '/nowhere/x'\n",
        "postgresql.auto.conf": name,
        "more/one.conf": f"include 'nested/two'\n# {name}\n",
        "more/nested/two": name,
        "conf.d/a.conf": f"# {name}",
        "absolute": f"# {name}",
        "tls/key.2024": name,
        "tls/other": "not configuration",
        "rules": f"local all @lists/{name} peer",
        f"lists/{name}": name,
        f"conf.d/{name}.conf": f"# {name}",
        f"{name}.crt": name,
        "base/1": f"rows of {name}",
        "PG_VERSION": "15",
    }
    for path, text in texts.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text)


def contents(directory: Path) -> dict[str, str]:
    return {str(path.relative_to(directory)): path.read_text() for path in directory.rglob("*") if path.is_file()}


def test_all_that_it_reads_stays_its_own(tmp_path: Path) -> None:
    mine, theirs = tmp_path / "data", tmp_path / "theirs"
    server(mine, "mine")
    server(theirs, "theirs")
    expected = {**contents(mine), "base/1": "rows of theirs"}
    own = OwnConfiguration(str(mine), pwd.getpwuid(os.geteuid()).pw_name)
    own.give(str(theirs))
    there = contents(theirs)
    there.pop("absolute")  # its name leads into the other directory
    assert there == {path: text for path, text in expected.items() if path != "absolute"}

    own.keep()
    # A rewind puts the other one's files over all of it.
    for path in list(mine.rglob("*")):
        if path.is_file():
            path.unlink()
    server(mine, "theirs")
    own.put_back()
    assert contents(mine) == expected and not own.left


def test_what_is_named_by_a_link_to_the_data_directory_is_its_own(tmp_path: Path) -> None:
    """The data directory is /srv/pg, a link; the configuration names files by it, and all work is done where it leads."""
    data, link = tmp_path / "disk/pg", tmp_path / "pg"
    (data / "extra").mkdir(parents=True)
    link.symlink_to(data)
    (data / "postgresql.conf").write_text(f"include '{link}/extra/one'\nssl_key_file = '{link}/mine'\n")
    for name in ("extra/one", "mine"):
        (data / name).write_text("own")
    new = tmp_path / "new"
    new.mkdir()
    OwnConfiguration(str(data), pwd.getpwuid(os.geteuid()).pw_name).give(str(new))
    assert contents(new).keys() == {"postgresql.conf", "extra/one", "mine"}
