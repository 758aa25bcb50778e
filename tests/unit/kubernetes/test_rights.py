# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of rights, and what is made of it. A rule for no names is no rule: without ``resourceNames`` it would be for all."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.rights import (
    RIGHTS,
    WITHOUT_NAMES,
    Rights,
    Rule,
    rights_of,
    role,
    rule_for,
)


def test_a_backup_needs_no_rights() -> None:
    assert RIGHTS["backup"] == Rights()


def test_every_rule_is_as_narrow_as_its_verbs_allow() -> None:
    """Nobody gets all Secrets, or a shell in a pod."""
    for job, rights in RIGHTS.items():
        for rule in (*rights.rules, *rights.cluster):
            assert not (rule.names and set(rule.verbs) & WITHOUT_NAMES), f"{job}: names narrow neither of {rule.verbs}"
            assert rule.resource not in ("pods/exec", "pods/attach", "pods/portforward", "pods/ephemeralcontainers"), (
                job
            )
            assert "*" not in (rule.resource, rule.group, *rule.verbs), job
            if rule.resource == "secrets":
                assert rule.names or rule.verbs == ("create",), f"{job}: all Secrets"
        assert len({(rule.group, rule.resource, rule.verbs) for rule in rights.rules}) == len(rights.rules), job


def test_names_are_filled_in_and_none_is_no_rule() -> None:
    found = rights_of("info", server=["db"], claims=["data-db-0", "wal-db-0"], config_maps=[])
    assert Rule("statefulsets", ("get",), "apps", ("db",)) in found.rules
    assert Rule("persistentvolumeclaims", ("get",), "", ("data-db-0", "wal-db-0")) in found.rules
    without = rights_of("info", server=["db"], claims=[], config_maps=[])
    assert not [rule for rule in without.rules if rule.resource == "persistentvolumeclaims"]
    with pytest.raises(KeyError):
        rights_of("info", server=["db"])


def test_a_role() -> None:
    made = role("holdfast-info", rights_of("info", server=["db"], claims=["c"], config_maps=[]).rules, "shop")
    assert made["kind"] == "Role" and made["metadata"] == {"name": "holdfast-info", "namespace": "shop"}
    assert made["rules"][0] == {
        "apiGroups": ["apps"], "resources": ["statefulsets"], "verbs": ["get"], "resourceNames": ["db"]
    }  # fmt: skip
    assert role("x", RIGHTS["info"].cluster)["kind"] == "ClusterRole"


def test_a_line_to_paste() -> None:
    assert (
        rule_for("get", "secrets", "", "db").line()
        == '- {apiGroups: [""], resources: [secrets], verbs: [get], resourceNames: [db]}'
    )
    assert (
        rule_for("create", "jobs", "batch", "x").line() == "- {apiGroups: [batch], resources: [jobs], verbs: [create]}"
    )


def test_the_page_has_the_table() -> None:
    """docs/kubernetes.md, line by line."""
    lines = ["| who | where | rule |", "| --- | --- | --- |"]
    for job, rights in RIGHTS.items():
        for where, rules in (("Role", rights.rules), ("ClusterRole", rights.cluster)):
            lines += [f"| {job} | {where} | `{rule.line()[2:]}` |" for rule in rules]
        lines += [f"| {job} | | none |"] if rights == Rights() else []
    page = (Path(__file__).parents[3] / "docs/kubernetes.md").read_text()
    assert "\n".join(lines) in page, "\n".join(lines)
