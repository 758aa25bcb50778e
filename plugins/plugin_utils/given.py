# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a variable says, wherever it was written: in YAML, on the command line, or in the survey of a job.

``-e name=true`` is a string, a survey's text area makes a string of a dictionary, and a question that nobody answered arrives as an
empty string. So an empty answer is "not given", everywhere, and text is read as what the variable is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Optional

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.parsing.convert_bool import boolean


def is_given(value: Any) -> bool:
    """False of an empty answer: nothing, blanks, or (from a list's question) nothing but those."""
    if isinstance(value, str):
        return bool(value.strip())
    if isinstance(value, list) and value:
        return any(item is not None and not (isinstance(item, str) and not item.strip()) for item in value)
    return value is not None


def given(value: Any, default: Any = None) -> Any:
    """The value, or the default of an empty answer; of the default's type, where that is a boolean, a number, a list or a dictionary.

    Raises:
        TypeError, ValueError: it is neither.
    """
    if not is_given(value):
        return default
    if isinstance(default, bool):
        return boolean(value)
    if isinstance(default, int) and isinstance(value, str):
        return int(value)
    if isinstance(default, list) and isinstance(value, str):
        return as_list(value)
    if isinstance(default, dict):
        return structure(value)
    return value


def structure(value: Any) -> Any:
    """A dictionary or a list, also from its text (JSON or YAML); anything else as it is."""
    if not isinstance(value, str) or not is_given(value):
        return value
    try:
        read = yaml.safe_load(value)
    except yaml.YAMLError:
        return value
    return read if isinstance(read, (dict, list)) else value


def as_list(text: str) -> list[Any]:
    """A list from its text: JSON, YAML, or separated by commas."""
    read = structure(text)
    return read if isinstance(read, list) else [item.strip() for item in text.split(",")]


def arguments(values: Mapping[str, Any], lists: Collection[str]) -> dict[str, Any]:
    """A module's arguments as its role's user meant them: without empty answers; ``lists`` are those whose text is a list's."""
    return {
        name: as_list(value) if name in lists and isinstance(value, str) else value
        for name, value in values.items()
        if is_given(value)
    }


def stores(several: Any, one: Any = None) -> list[dict[str, Any]]:
    """What ``holdfast_repositories`` names; without them the one of ``holdfast_repository``. What is none is left out."""
    if is_given(several) and several != []:
        listed = structure(several)
        return [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    found = structure(one)
    return [found] if isinstance(found, dict) else []


def store_of(several: Any, one: Any = None, tier: Any = None) -> Optional[dict[str, Any]]:
    """The repository that is named ``tier``, else the first; without what concerns a run that writes to all of them."""
    there = stores(several, one)
    named = [item for item in there if str(item.get("name")) == str(tier)] if is_given(tier) else there
    return {key: value for key, value in named[0].items() if key not in ("name", "retention")} if named else None


def variables_within(value: Any) -> set[str]:
    """Names of the variables for other runs: in a dictionary of them, or in the ``variables`` of each dictionary of a list."""
    read = structure(value)
    listed = (
        [structure(item.get("variables")) for item in read if isinstance(item, dict)]
        if isinstance(read, list)
        else [read]
    )
    return {str(name) for found in listed if isinstance(found, dict) for name in found}


def without_effect(values: Mapping[str, Any], options: Collection[str], takes: Collection[str], case: str) -> list[str]:
    """A sentence on what is given of a role's ``options`` and is not among those that are all that it ``takes`` in this ``case`` (a sentence); none
    where that is empty."""
    idle = [name for name in options if is_given(values.get(name)) and values[name] not in ([], {})]
    refused = [name for name in idle if name not in takes] if takes else []
    if not refused:
        return []
    verb, them = ("have", "Leave them out, or empty") if len(refused) > 1 else ("has", "Leave it out, or empty")
    return [f"{', '.join(refused)} {verb} no effect here: {case} {them} ('') for this host."]


def wrong(spec: Mapping[str, Mapping[str, Any]], values: Mapping[str, Any]) -> list[str]:
    """Sentences on what a role's options (``spec``, as argument_specs.yml has them) say of values, without the empty ones."""
    said = {name: value for name, value in values.items() if is_given(value)}
    missing = [name for name, option in spec.items() if option.get("required") and name not in said]
    problems = [f"Set {name}: {_first_sentence(spec[name])}" for name in missing]
    # What is missing was said, by name; defaults in the specification are documentation, and may be templates.
    asked = {
        name: {key: value for key, value in option.items() if key not in ("required", "default", "description")}
        for name, option in spec.items()
        if name in said
    }
    for name, option in asked.items():
        value = structure(said[name]) if option.get("elements") == "dict" else said[name]
        result = ArgumentSpecValidator({name: option}).validate({name: value})
        if result.error_messages:
            if option.get("no_log"):
                problems.append(f"{name} is no {option.get('type', 'str')}.")
                continue
            reason = _reason(option, result.error_messages)
            if "dict" in (option.get("type"), option.get("elements")):
                problems.append(f"{name} {reason}")  # what stands in there may be secret
                continue
            shown = json.dumps(value, default=str)
            problems.append(f"{name} is {shown if len(shown) < 80 else shown[:77] + '…'}, and {reason}")
    return problems


def _reason(option: Mapping[str, Any], errors: list[str]) -> str:
    if option.get("choices") and "must be one of" in errors[0]:
        return f"takes {', '.join(str(choice) for choice in option['choices'])}."
    kinds = {
        "bool": "true or false",
        "int": "a whole number",
        "float": "a number",
        "dict": "a dictionary",
        "list": "a list of dictionaries" if option.get("elements") == "dict" else "a list",
    }
    unknown = re.match(r"\w+\.(.+?)\. Supported parameters include: ([^.]+)", errors[0])
    if unknown:
        return f"has {unknown.group(1)}, which it does not take. It takes {unknown.group(2)}."
    inner = re.match(r"argument '(\w+)' is of type .* found in '", errors[0])
    if inner:
        kind = option["options"][inner.group(1)].get("type", "str")
        return f"has {inner.group(1)}, which takes {kinds.get(kind, 'text')}."
    if any("unable to convert" in error for error in errors) and option.get("type") in kinds:
        return f"takes {kinds[option['type']]}."
    return f"does not do: {'; '.join(errors)}."


def _first_sentence(option: Mapping[str, Any]) -> str:
    description = option.get("description", "")
    text = description if isinstance(description, str) else description[0]
    return text.partition(". ")[0].rstrip(".") + "."
