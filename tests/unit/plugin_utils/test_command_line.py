# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The line that carries a plan out is the one that was typed for it, without check mode, with consent, and without secrets."""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.postgres.plugins.plugin_utils.command_line import command_line

CONSENT = {"holdfast_recover_force": True}
SAID = """-e '{"holdfast_recover_force": true}'"""


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (["-i", "inventory", "x.recover", "-b", "--check", "--diff"], "-i inventory x.recover -b"),
        (["x.recover", "-bCD", "-C", "-e", "@vars.yml"], "x.recover -b -e @vars.yml"),
        (["x.recover", "-i", "-C", "-CDvv"], "x.recover -i -C -vv"),  # an inventory of that name
        (["x", "-e", "holdfast_login_password=hunter2", "--limit", "db1"], "x -e … --limit db1"),
        (
            ["x", "-e", "dsn=postgres://u:hunter2@h/db", "-e", "azure_sas=sv", "-e", "u=https://h/?a&sig=x"],
            "x -e … -e … -e …",
        ),
        (["x", "--extra-vars=my_secret=1", "-e", "@secrets.yml"], "x … -e @secrets.yml"),
        (["x", "-e", '{"a": [1, 2]}'], """x -e '{"a": [1, 2]}'"""),
    ],
)
def test_the_line(typed: list[str], line: str) -> None:
    assert (
        command_line(["/venv/bin/ansible-playbook", *typed], CONSENT).replace("'…'", "…")
        == f"ansible-playbook {line} {SAID}"
    )
