# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a variable means another thing when it comes from the command line or a survey.

Members, for every variable of every role, in every expression of its tasks, with every ansible-core that is here: '' and null and [''] are
not given; "true", "no", "7", a list and a dictionary as text are what they say; a condition is a boolean (ansible-core 2.19 refuses others).
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from lab.playbooks import CHECKOUT, controllers


@pytest.mark.parametrize("version, bindir", sorted(controllers().items()))
def test_a_variable_means_the_same_wherever_it_is_written(version: str, bindir: Path) -> None:
    run = subprocess.run(
        [str(bindir / "python"), str(Path(__file__).with_name("role_templates.py"))],
        capture_output=True,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".work/collections"),
            "ANSIBLE_DEPRECATION_WARNINGS": "0",
        },
        check=False,
    )
    assert run.returncode == 0, run.stderr.decode()
    found = json.loads(run.stdout)
    assert found["compared"] > 1000
    assert found["differences"] == []
