# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: an example that nobody ran. docs/backups.md, docs/restores.md and docs/passphrases.md are followed from their top to their end, against
a server of the lab: what is typed is typed, but for sudo and -b, and below a directory of the test's."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.holdfast.postgres.plugins.plugin_utils.given import wrong
from ansible_collections.holdfast.postgres.plugins.plugin_utils.variables import ROLES, role_options
from lab.documents import blocks
from lab.playbooks import CHECKOUT, collections_path
from lab.servers import Server, clean_environment

from .test_playbooks import variables


class Reader:
    """Who follows a page, in a directory with an inventory and vars.yml."""

    def __init__(self, server: Server, place: Path) -> None:
        self.place = place
        (place / "backups").mkdir(mode=0o700)
        python = sys.executable
        (place / "inventory").write_text(f"db1 ansible_connection=local ansible_python_interpreter={python}\n")
        given = {
            **variables(server, place / "backups"),
            "holdfast_restore_scratch_dir": str(place),
            "holdfast_become_user": getpass.getuser(),
        }
        (place / "vars.yml").write_text(
            yaml.safe_dump({key: value for key, value in given.items() if value is not None})
        )
        login = server.login()
        self.environment = {
            **clean_environment(),
            "ANSIBLE_COLLECTIONS_PATH": str(collections_path()),
            "PATH": f"{Path(python).parent}:{server.bindir}:{os.environ['PATH']}",
            "PGHOST": str(login.get("login_unix_socket") or login.get("login_host")),
            "PGPORT": str(login["login_port"]),
            "PGUSER": str(login["login_user"]),
            "PGPASSWORD": str(login.get("login_password") or ""),
            "HOME": str(place),
            "TMPDIR": str(place),
        }

    def follow(self, page: str) -> str:
        said = []
        for block in blocks(CHECKOUT / "docs" / page):
            text = block.text.replace("/etc/holdfast/", f"{self.place}/").replace("/tmp/", f"{self.place}/")
            if block.name:
                (self.place / block.name).write_text(text)
            elif block.language == "sql":
                (self.place / text.partition("\n")[0].removeprefix("-- ")).write_text(text)
            if block.is_commands:
                script = text.replace("sudo -u postgres ", "").replace(" -b ", " ")
                run = subprocess.run(
                    ["bash", "-euc", script],
                    cwd=self.place,
                    env=self.environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    check=False,
                )
                assert run.returncode == 0, f"{block}:\n{run.stdout.decode()}"
                said.append(run.stdout.decode())
        return "".join(said)


@pytest.fixture
def reader(pg15: Server, tmp_path: Path) -> Reader:
    pg15.wipe()
    pg15.query("CREATE DATABASE shop")
    pg15.psql("CREATE TABLE orders (id int PRIMARY KEY); INSERT INTO orders SELECT generate_series(1, 100)", "shop")
    return Reader(pg15, tmp_path)


@pytest.mark.extended
def test_backups(reader: Reader) -> None:
    said = reader.follow("backups.md")
    assert "Nothing to do: the backup" in said and "before-the-upgrade" in said


@pytest.mark.extended
def test_restores(reader: Reader, pg15: Server) -> None:
    script = "ansible-playbook -i inventory holdfast.postgres.backup -e @vars.yml"
    subprocess.run(["bash", "-euc", script], cwd=reader.place, env=reader.environment, check=True, capture_output=True)
    pg15.psql("DELETE FROM orders WHERE id > 50", "shop")
    reader.follow("restores.md")
    assert pg15.query("SELECT count(*) FROM orders", "shop") == [(100,)]
    assert pg15.query("SELECT count(*) FROM orders", "shop_from_a_file") == [(100,)]
    assert pg15.query("SELECT count(*) FROM orders", "shop_empty") == [(0,)]
    assert pg15.query("SELECT count(*) FROM orders", "shop_mine") == [(100,)]


@pytest.mark.extended
def test_passphrases(reader: Reader) -> None:
    said = reader.follow("passphrases.md")
    assert "eep a copy elsewhere" in said and "encrypted (aes256)" in said


def test_the_variables_of_engines_are_what_the_roles_take() -> None:
    options = {name: option for role in ROLES.iterdir() for name, option in role_options(role.name).items()}
    pages = [block for block in blocks(CHECKOUT / "docs/engines.md") if block.name]
    assert len(pages) == 4
    for block in pages:
        given = yaml.safe_load(block.text)
        assert set(given) <= set(options)
        assert wrong({name: options[name] for name in given}, given) == []
