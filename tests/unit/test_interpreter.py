# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which libraries a module's Python must have, by its options: no more than it needs, as another interpreter would be looked for."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.interpreter import needed


@pytest.mark.parametrize(
    ("params", "psycopg2", "kubernetes", "wanted"),
    [
        ({}, False, False, []),
        ({}, True, False, ["psycopg2"]),
        ({"repository": {"type": "s3"}}, True, False, ["psycopg2", "boto3"]),
        ({"repositories": [{"type": "azure"}, {"type": "file"}]}, False, False, ["azure-storage-blob"]),
        # an option that only some need, as Ansible hands it on when nobody gave it
        ({"kubernetes": {"kubeconfig": None, "namespace": None}}, False, False, []),
        ({"kubernetes": None}, False, False, []),
        ({"kubernetes": {"kubeconfig": None, "namespace": "shop"}}, False, False, ["kubernetes"]),
        ({"kubernetes": {}}, False, True, ["kubernetes"]),
    ],
)
def test_which_libraries_are_needed(
    params: dict[str, Any], psycopg2: bool, kubernetes: bool, wanted: list[str]
) -> None:
    assert [library.package for library in needed(params, psycopg2, kubernetes)] == wanted
