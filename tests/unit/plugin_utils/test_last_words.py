# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a failure of which only the first or the last line is told. Members: a task that failed, in a loop too; a playbook that is not there; a
program that is not there, or says nothing."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.plugin_utils.last_words import last_words


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (
            {
                "stdout": 'PLAY [x]\n\nTASK [Back up]\nfatal: [db1]: FAILED! => {"changed": false, "msg": "/b does not exist."}\n\n'
                "PLAY RECAP\ndb1 : ok=1\n",
                "stderr": "[WARNING]: something",
            },
            "/b does not exist.",
        ),
        (
            {"stdout": 'failed: [db1] (item=a) => {"msg": "no a"}\nfailed: [db1] (item=b) => {"msg": "no b"}'},
            "no a no b.",
        ),
        (
            {"stdout": "", "stderr": "[WARNING]: x\nERROR! the playbook: x.yml could not be found\n"},
            "ERROR! the playbook: x.yml could not be found.",
        ),
        ({"stderr": "a.sh: 3: exec: ansible-playbook: not found"}, "a.sh: 3: exec: ansible-playbook: not found."),
        ({"msg": "No such file or directory"}, "No such file or directory."),
        ({"stdout": "fatal: [db1]: FAILED! => {broken}"}, "fatal: [db1]: FAILED! => {broken}."),
        ({}, "It said nothing."),
    ],
)
def test_why_it_failed(result: dict[str, Any], said: str) -> None:
    assert last_words(result) == said
