# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration files of a restored server lead to where they are: in its own directory (CASES 1.56)."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from ansible_collections.holdfast.postgres.plugins.module_utils.recovery.configuration_files import ConfigurationFiles
from ansible_collections.holdfast.postgres.plugins.module_utils.server.configuration import (
    Configuration,
    LocalFiles,
    in_force,
    read_rules,
    read_settings,
)

ME = pwd.getpwuid(os.geteuid()).pw_name


def write(root: Path, texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def made(
    tmp_path: Path, staged: Mapping[str, str], unpacked: Mapping[str, str], own: bool = False
) -> ConfigurationFiles:
    (tmp_path / "staged").mkdir()
    write(tmp_path / "staged", staged)
    write(tmp_path / "unpacked", unpacked)
    return ConfigurationFiles(
        str(tmp_path / "staged"), str(tmp_path / "final"), "/old/data", str(tmp_path / "unpacked"), ME, own
    )


def test_what_lay_outside_lies_inside(tmp_path: Path) -> None:
    staged = {
        "postgresql.conf": "port = 1\ninclude '/old/data/sub/a.conf' # ours\ninclude_dir = '/etc/pg/conf.d'\n"
        "include_if_exists '/etc/never.conf'\ninclude '/etc/pg/x y.conf'\nhba_file = '/old/data/rules'\n",
        "sub/a.conf": "include 'b.conf'\nwork_mem = '1MB'\n",
        "sub/b.conf": "include '../c.conf'\n",
        "c.conf": "cluster_name = 'c'\n",
        "rules": 'local all @"/etc/pg/admins",@/old/data/others peer\ninclude "/etc/pg/more"\n',
        "others": "bob\n",
        "pg_ident.conf": "",
    }
    unpacked = {
        "/etc/pg/conf.d/1.conf": "include '../deep.conf'\n",
        "/etc/pg/deep.conf": "geqo = off\n",
        "/etc/pg/x y.conf": "jit = off\n",
        "/etc/pg/admins": "alice\n@others\n",
        "/etc/pg/others": "carol\n",
        "/etc/pg/more": "local all all reject\n",
    }
    files = made(tmp_path, staged, unpacked)
    main = str(tmp_path / "staged" / "postgresql.conf")
    changed = files.settle(in_force(main))
    assert (
        changed == {"hba_file": str(tmp_path / "final" / "rules")} and not files.found.missing and not files.found.hosts
    )
    (tmp_path / "staged").rename(tmp_path / "final")
    main = str(tmp_path / "final" / "postgresql.conf")
    found = read_settings(LocalFiles(), [main])
    assert not found.missing and found.settings["geqo"] == found.settings["jit"] == "off"
    assert found.settings["cluster_name"] == "c" and found.settings["work_mem"] == "1MB"
    rules = Configuration()
    read_rules(LocalFiles(), str(tmp_path / "final" / "rules"), rules)
    assert not rules.missing
    inside = str(tmp_path / "final") + "/"
    assert all(path.startswith(inside) for path in [*found.files, *found.directories, *rules.files])
    assert {os.path.basename(path) for path in rules.files} == {"rules", "admins", "others", "more"}
    assert len(rules.files) == 5


def test_a_configuration_that_lay_elsewhere(tmp_path: Path) -> None:
    """As Debian's does; and links in the data directory, whose contents came beside."""
    unpacked = {
        "/etc/pg/main/postgresql.conf": "hba_file = '/etc/pg/main/pg_hba.conf'\nident_file = '/etc/ident'\n"
        "include_dir 'conf.d'\ninclude '/old/data/linked.conf'\ninclude '/etc/pg/main/own.conf'\n",
        "/etc/pg/main/pg_hba.conf": "local all all peer\n",
        "/etc/ident": "",
        "/etc/pg/main/own.conf": "geqo = off\n",
        "/old/data/linked.conf": "jit = off\n",
    }
    files = made(tmp_path, {"PG_VERSION": "16"}, unpacked)
    (tmp_path / "unpacked" / "etc/pg/main/conf.d").mkdir()
    files.bring_main("/etc/pg/main/postgresql.conf")
    main = str(tmp_path / "staged" / "postgresql.conf")
    changed = files.settle(in_force(main))
    final = tmp_path / "final"
    assert changed == {
        "hba_file": str(final / "pg_hba.conf"), "ident_file": str(final / "holdfast_included/etc/ident"),
    }  # fmt: skip
    assert not files.found.missing
    found = read_settings(LocalFiles(), [main])
    assert found.settings["geqo"] == found.settings["jit"] == "off" and not found.missing
    assert (tmp_path / "staged" / "conf.d").is_dir()


def test_the_host_s_own_and_what_is_nowhere(tmp_path: Path) -> None:
    host = tmp_path / "host.conf"
    host.write_text("jit = off\n")
    staged = {"postgresql.conf": f"include '{host}'\ninclude 'gone.conf'\ninclude_dir '/nowhere'\n", "pg_hba.conf": ""}
    files = made(tmp_path, staged, {str(host): "jit = on\n"}, own=True)
    files.settle({})
    assert files.found.hosts == [str(host)]
    assert [text.partition(" includes ")[2].partition(",")[0] for text in files.found.missing] == [
        str(tmp_path / "staged" / "gone.conf"), "/nowhere",
    ]  # fmt: skip
    assert f"{tmp_path}/final/postgresql.conf (line 2)" in files.found.missing[0]


def test_keys(tmp_path: Path) -> None:
    files = made(tmp_path, {"server.crt": "", "server.key": "", "ca": ""}, {})
    (tmp_path / "staged" / "server.key").chmod(0o600)
    on = {"ssl": "on", "ssl_ca_file": "/old/data/ca"}
    assert files.check_tls(on) == {"ssl_ca_file": "ca"} and not files.found.missing
    (tmp_path / "staged" / "server.key").chmod(0o644)
    files.check_tls({**on, "ssl_crl_file": "/nowhere/crl"})
    assert (
        len(files.found.missing) == 2 and "chmod 600" in str(files.found.missing) and "crl" in str(files.found.missing)
    )
    assert files.check_tls({"ssl": "off", "ssl_cert_file": "/nowhere"}) == {}
