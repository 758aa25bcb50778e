# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The interpreter that Ansible chose lacks psycopg2 or a store's library: another one of the host is taken, and the result says which."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from lab.playbooks import run_adhoc


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of a virtual environment that has nothing, such as a person has activated."""
    place = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    return str(place / "bin" / "python")


def test_psycopg2_is_found(bare: str) -> None:
    given = {"login_host": "127.0.0.1", "login_port": 1, "name": "p"}
    variables = {"ansible_python_interpreter": bare, "holdfast_python_venv": sys.prefix}
    done = run_adhoc("holdfast.postgres.pg_restore_point", given, variables=variables)
    (result,) = done.of("holdfast.postgres.pg_restore_point")
    assert result["interpreter"] == f"{sys.prefix}/bin/python", result
    assert "Cannot connect to PostgreSQL" in result["msg"]


def test_a_stores_library_is_found(bare: str) -> None:
    repository = {
        "type": "s3",
        "bucket": "b",
        "endpoint_url": "http://127.0.0.1:1",
        "access_key": "nobodys",
        "secret_key": "nothing-of-a-path",
    }
    variables = {"ansible_python_interpreter": bare, "holdfast_python_venv": sys.prefix}
    done = run_adhoc("holdfast.postgres.backup_check", {"repository": repository}, variables=variables)
    (result,) = done.of("holdfast.postgres.backup_check")
    assert result["interpreter"] == f"{sys.prefix}/bin/python" and "Nothing answers there" in result["msg"], result


def test_nobody_has_it(bare: str, tmp_path: Path) -> None:
    """No other Python of this host has Google's library: the message says who can install it, and names no pip of a managed environment."""
    variables = {"ansible_python_interpreter": bare, "holdfast_python_venv": str(tmp_path)}
    done = run_adhoc(
        "holdfast.postgres.backup_check", {"repository": {"type": "gcs", "bucket": "b"}}, variables=variables
    )
    (result,) = done.of("holdfast.postgres.backup_check")
    assert "interpreter" not in result and "holdfast_setup_install_packages" in result["msg"], result
