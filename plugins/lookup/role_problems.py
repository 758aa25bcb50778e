# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: role_problems
author:
  - holdfast.postgres contributors (@holdfast)
version_added: 0.1.0
short_description: Why a role of this collection must not begin
description:
  - Looks at the names of the variables that are defined for the host. One that begins with C(holdfast_) and that no role knows is
    a misspelt one, and would silently have no effect.
  - Looks at what they say, as C(meta/argument_specs.yml) has it. An empty answer of a survey is not given, whatever its type; Ansible's own
    validation would refuse it, so that the collection's playbooks go without (C(rolespec_validate=false)).
  - Looks at how many hosts the play has, for a role that changes a server.
  - The roles ask this first. Names of your own are excused by the variable C(holdfast_ignore_variables).
options:
  _terms:
    description: The role's name.
    required: true
  hosts:
    description: V(any) number, V(one) alone, or one unless C(holdfast_many) is true (V(one_unless_many)).
    type: str
    choices: [any, one, one_unless_many]
    default: any
  confirm:
    description: Name of the variable that confirms what may be replaced.
    type: str
  repository:
    description: Whether C(holdfast_repository) or C(holdfast_repositories) must be there.
    type: bool
    default: false
  asks:
    description: Whether the role asks a person for the repository, unless C(holdfast_interactive) is false.
    type: bool
    default: false
  tier:
    description: Name of the variable that names one of C(holdfast_repositories).
    type: str
  required:
    description: Names of variables that are required in this case, besides those that always are.
    type: list
    elements: str
    default: []
  takes:
    description: Names of the variables that are all that the role takes in this case. Any other one of its that is given would silently have no effect.
    type: list
    elements: str
    default: []
  case:
    description: The case, as a sentence, for who has given another one than O(takes).
    type: str
    default: ''
  terminal:
    description: Whether the role will ask at the terminal later, so that there must be one.
    type: bool
    default: false
  nested:
    description:
      - Names of variables that have variables for other runs, whose names are looked at too. Such a one is a dictionary of them, or a list of
        dictionaries with C(variables).
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Check the variables
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems | join(' ') }}"
  vars:
    problems: "{{ query('holdfast.postgres.role_problems', 'recover', hosts='one_unless_many') }}"
"""

RETURN = r"""
_raw:
  description: A sentence for each problem.
  type: list
  elements: str
"""

from collections.abc import Iterable
from typing import Any, Optional

from ansible.errors import AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.lookup import LookupBase
from ansible_collections.holdfast.postgres.plugins.plugin_utils import hosts as play_hosts
from ansible_collections.holdfast.postgres.plugins.plugin_utils.controller import has_terminal
from ansible_collections.holdfast.postgres.plugins.plugin_utils.given import (
    is_given,
    stores,
    variables_within,
    without_effect,
    wrong,
)
from ansible_collections.holdfast.postgres.plugins.plugin_utils.variables import (
    OF_PLAYS,
    known_names,
    option_names,
    role_options,
    unknown,
)


def _evaluate(templar: Any, defined: dict[str, Any], names: Iterable[str]) -> tuple[list[str], dict[str, Any]]:
    """The values of these variables; and a sentence on each that cannot be evaluated."""
    problems, values = [], {}
    for name in names:
        if name not in defined:
            continue
        try:
            values[name] = templar.template(defined[name])
        except AnsibleError as exc:
            problems.append(f"{name} cannot be evaluated: {str(exc).splitlines()[0].rstrip('.')}.")
    return problems, values


class LookupModule(LookupBase):  # type: ignore[misc]
    """role_problems"""

    def run(self, terms: list[str], variables: Optional[dict[str, Any]] = None, **kwargs: Any) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        defined = variables or {}
        spec = role_options(terms[0])
        spec |= {name: {**spec[name], "required": True} for name in self.get_option("required")}
        of_the_play = (*(f"holdfast_{name}" for name in sorted(OF_PLAYS)), "ansible_play_hosts_all")
        problems, values = _evaluate(self._templar, defined, [*spec, *of_the_play])
        unclear = {name for name in spec if name in defined and name not in values}
        problems += wrong({name: option for name, option in spec.items() if name not in unclear}, values)

        def value(name: str, default: Any) -> Any:
            said = values.get(name, default)
            return said if is_given(said) else default

        problems += without_effect(values, spec, self.get_option("takes"), self.get_option("case"))
        names = set(defined)
        for nested in self.get_option("nested"):
            names |= variables_within(values.get(nested))
        problems += unknown(names, known_names(), option_names(), value("holdfast_ignore_variables", []) or [])
        targets = list(value("ansible_play_hosts_all", []))
        rule = self.get_option("hosts")
        if rule != "any":
            many = None if rule == "one" else _said_so(value(play_hosts.MANY, False))
            problems += play_hosts.several(terms[0], targets, many)
        confirm = self.get_option("confirm")
        if confirm and not problems:
            problems += play_hosts.without_host(confirm, value(confirm, []) or [], targets)
        places = ("holdfast_repository", "holdfast_repositories")
        asks = self.get_option("asks") and _said_so(value("holdfast_interactive", True))
        if (
            self.get_option("repository")
            and not asks
            and not unclear.intersection(places)
            and not any(value(name, None) for name in places)
        ):
            problems.append("Say where backups are kept: holdfast_repository, or several as holdfast_repositories.")
        if self.get_option("terminal") and not has_terminal():
            problems.append(
                f"The role {terms[0]} would ask at the terminal, and this ansible-playbook has none at which somebody could answer. Nothing was done."
            )
        tier = self.get_option("tier")
        if tier and value(tier, None) and "holdfast_repositories" not in unclear:
            there = [str(item.get("name")) for item in stores(value("holdfast_repositories", None))]
            if there.count(str(value(tier, None))) != 1:
                known = (
                    f"holdfast_repositories has {', '.join(there)}" if there else "there is no holdfast_repositories"
                )
                problems.append(f"{tier} is {value(tier, None)!r}, and {known}. Name one of them.")
        return problems


def _said_so(value: Any) -> bool:
    """A boolean of a play; what is none does not agree to anything."""
    return bool(boolean(value or False, strict=False))
