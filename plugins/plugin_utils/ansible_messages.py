# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Ansible says of a module's arguments, as the user of a role reads it: "missing required arguments: data_directory" names nothing that
the user has, "Set holdfast_data_directory." does; and what our modules say, in the same words (pure)."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from ansible_collections.holdfast.postgres.plugins.plugin_utils.variables import in_variables, variable

# ansible/module_utils/common/validation.py and parameters.py have these messages; each may end in "found in option -> suboption".
_FOUND_IN = re.compile(r"(?P<said>.*?)\.? found in '?(?P<path>\w+(?: -> \w+)*)'?(?P<rest>.*)", re.DOTALL)
_Name = Callable[[str], str]


def _listed(names: str, name: _Name, last: str) -> str:
    found = [name(one.strip()) for one in names.split(",")]
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} {last} {found[-1]}"


def _excluding(found: re.Match[str], name: _Name) -> str:
    pairs = [[name(one.strip()) for one in pair.split("|")] for pair in found["names"].split(",")]
    return " ".join(f"{' and '.join(pair)} do not go together: set one of them." for pair in pairs)


_KINDS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "dict": "a dictionary",
    "list": "a list",
}

_SAID: tuple[tuple[str, Callable[[re.Match[str], _Name], str]], ...] = (
    (r"missing required arguments: (?P<names>.+)", lambda found, name: f"Set {_listed(found['names'], name, 'and')}."),
    (
        r"(?P<key>\w+) is (?P<value>.*) but (?P<how>all|any) of the following are missing: (?P<names>.+)",
        lambda found, name: (
            f"Where {name(found['key'])} is {found['value']}, set "
            f"{_listed(found['names'], name, 'and' if found['how'] == 'all' else 'or')}."
        ),
    ),
    (
        r"one of the following is required: (?P<names>.+)",
        lambda found, name: f"Set {_listed(found['names'], name, 'or')}.",
    ),
    (r"parameters are mutually exclusive: (?P<names>.+)", _excluding),
    (
        r"parameters are required together: (?P<names>.+)",
        lambda found, name: f"Set {_listed(found['names'], name, 'and')}, or none of them.",
    ),
    (
        r"missing parameter\(s\) required by '(?P<key>\w+)': (?P<names>.+)",
        lambda found, name: f"With {name(found['key'])}, set {_listed(found['names'], name, 'and')}.",
    ),
    (
        r"value of (?P<key>\w+) must be one of: (?P<choices>.+), got: (?P<value>.*)",
        lambda found, name: f"{name(found['key'])} is {found['value']}, and takes {found['choices']}.",
    ),
    (
        r"value of (?P<key>\w+) must be one or more of: (?P<choices>.+)\. Got no match for: (?P<value>.*)",
        lambda found, name: f"{name(found['key'])} has {found['value']}, and takes {found['choices']}.",
    ),
    (
        r"argument '(?P<key>\w+)' is of type .*? and we were unable to convert to (?P<kind>\w+): .*",
        lambda found, name: f"{name(found['key'])} takes {_KINDS.get(found['kind'], found['kind'])}.",
    ),
    (
        r"Elements value for option '(?P<key>\w+)' is of type .*? and we were unable to convert to (?P<kind>\w+): .*",
        lambda found, name: f"{name(found['key'])} takes a list, of {found['kind']}.",
    ),
    (
        r"(?P<key>\w+(?:\.\w+)+)\. Supported parameters include: (?P<names>.+?)\.+",
        lambda found, name: f"There is no {name(found['key'])}. It takes {found['names']}.",
    ),
)  # fmt: skip


def of_a_role(message: str, role: str, options: Collection[str]) -> str:
    """The message in the role's variables, where Ansible made it of the arguments of the role's module; any other one as it is.

    ``options``: every variable that a user may set. An option without a variable keeps its name.
    """
    said = re.sub(r"^Unsupported parameters for \([\w.]+\) module: ", "", message)
    path: list[str] = []
    within = _FOUND_IN.fullmatch(said)
    if within:
        said, path = within["said"] + within["rest"], within["path"].split(" -> ")

    def name(option: str) -> str:
        parts = [*path, *option.split(".")]
        named = variable(role, parts[0])
        return ".".join([named if named in options else parts[0], *parts[1:]])

    for pattern, tell in _SAID:
        found = re.fullmatch(pattern, said, re.DOTALL)
        if found:
            return tell(found, name)
    return message


def in_role_words(message: str, role: str, arguments: Collection[str], options: Collection[str]) -> str:
    """A module's message for the user of a role. ``arguments``: options that it may speak of; what it begins with is one anyway, whether it
    was given or not (``databases: [] does not say …``)."""
    said = of_a_role(message, role, options)
    return in_variables(said, role, {*arguments, *re.findall(r"^\w+", said)}, options)
