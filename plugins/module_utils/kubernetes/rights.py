# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of a Role: as the API counts rights, and as a person pastes them (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# These are asked of all objects of a kind: no name can narrow them.
# https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-resources
WITHOUT_NAMES = frozenset({"create", "list", "watch", "deletecollection"})


@dataclass(frozen=True)
class Rule:
    """``verbs`` on ``resource`` (``jobs``, ``pods/log``) of an API ``group`` (empty: the core's); ``names``: on these objects alone."""

    resource: str
    verbs: tuple[str, ...]
    group: str = ""
    names: tuple[str, ...] = ()

    def manifest(self) -> dict[str, Any]:
        """As it stands in ``rules`` of a Role."""
        rule: dict[str, Any] = {"apiGroups": [self.group], "resources": [self.resource], "verbs": list(self.verbs)}
        if self.names:
            rule["resourceNames"] = list(self.names)
        return rule

    def line(self) -> str:
        """To paste into ``rules`` of a Role."""
        group = self.group or '""'
        names = f", resourceNames: [{', '.join(self.names)}]" if self.names else ""
        verbs = ", ".join(self.verbs)
        return f"- {{apiGroups: [{group}], resources: [{self.resource}], verbs: [{verbs}]{names}}}"


def rule_for(verb: str, resource: str, group: str = "", name: str = "") -> Rule:
    """What a refused request lacked."""
    return Rule(resource, (verb,), group, (name,) if name and verb not in WITHOUT_NAMES else ())
