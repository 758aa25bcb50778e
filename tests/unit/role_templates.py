# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluates what the tasks of every role say, with each variable written in several ways; run by test_role_variables.py.

It is a program of its own, as Ansible's plugin loader takes the import system over, and to be run with each ansible-core. Prints JSON:
``compared`` (how many) and ``differences`` (sentences).
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar

try:
    from ansible.template import trust_as_template
except ImportError:  # before 2.19 every text is a template

    def trust_as_template(text: str) -> str:  # type: ignore[misc]
        return text


TRUSTED = (
    {"trusted_as_template": True}
    if "trusted_as_template" in inspect.signature(DataLoader.load_from_file).parameters
    else {}
)
TOP = Path(__file__).resolve().parents[2]
OMIT = "__omitted__"
OURS = "holdfast.postgres."
# What a task has beside its module.
KEYWORDS = {
    "name", "when", "loop", "loop_control", "vars", "register", "no_log", "become", "become_user", "delegate_to", "changed_when",
    "failed_when", "until", "retries", "delay", "ignore_errors", "module_defaults", "block", "tags", "environment", "rescue", "always",
    "run_once", "args",
}  # fmt: skip
SAMPLES = {"int": 7, "str": "text", "path": "/some/path", "bool": True, "float": 1.5, "raw": "text"}
BASE = {
    "inventory_hostname": "db1", "ansible_play_hosts_all": ["db1"], "ansible_check_mode": False, "omit": OMIT,
    "ansible_facts": {"service_mgr": "systemd", "user_id": "root", "os_family": "Debian"}, "playbook_dir": "/",
    "holdfast_repository": {"path": "/backups"}, "holdfast_data_directory": "/data",
}  # fmt: skip


def sample(option: dict[str, Any]) -> Any:
    if "choices" in option:
        return option["choices"][-1]
    if option["type"] == "dict":
        return {"path": "/elsewhere"}
    if option["type"] == "list":
        return [{"name": "a", "path": "/a"}] if option.get("elements") == "dict" else ["db1/one", "db1/two"]
    return SAMPLES[option["type"]]


def spellings(option: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Pairs that must mean the same; OMIT: the variable is not there."""
    yield "", OMIT
    yield None, OMIT
    if option["type"] == "bool":
        yield "true", True
        yield "no", False
    elif option["type"] == "int":
        yield "7", 7
    elif option["type"] == "dict":
        yield json.dumps(sample(option)), sample(option)
    elif option["type"] == "list":
        yield [""], OMIT
        said = sample(option)
        yield json.dumps(said) if option.get("elements") == "dict" else ",".join(said), said


def tasks(role: Path, loader: DataLoader) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted((role / "tasks").glob("*.yml")):
        waiting = list(loader.load_from_file(str(path), **TRUSTED))
        while waiting:
            task = waiting.pop(0)
            waiting = [*task.get("block", []), *task.get("rescue", []), *task.get("always", []), *waiting]
            yield f"{role.name}/{path.name}: {task.get('name')}", task


def expressions(task: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in task.items():
        if key == "when":
            for number, condition in enumerate(value if isinstance(value, list) else [value]):
                yield f"when[{number}]", trust_as_template("{{ " + str(condition) + " }}")
        elif key == "module_defaults":
            for group in value.values():
                yield from ((f"{OURS}default.{name}", said) for name, said in group.items())
        elif key in ("loop", "become", "become_user"):
            yield key, value
        elif key not in KEYWORDS and isinstance(value, dict):
            yield from ((f"{key}.{name}", said) for name, said in value.items())


def plain(value: Any) -> Any:
    """As a module would read it: text of a boolean, a number, a list and a dictionary is what it says."""
    if isinstance(value, str):
        if value.startswith(("{", "[")):
            try:
                return plain(json.loads(value))
            except ValueError:
                return value
        return {"yes": "true", "no": "false"}.get(value.lower(), value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return [plain(item) for item in value] if not all(isinstance(item, str) for item in value) else ",".join(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return None if value is None else str(value)


def evaluate(key: str, text: Any, templar: Templar) -> Any:
    try:
        found = templar.template(text)
    except Exception as exc:
        if (
            "ndefined" in type(exc).__name__ + str(exc)
            and key.startswith(OURS)
            and str(text).strip("{} ").isidentifier()
        ):
            return OMIT  # a required one that is not there: role_problems says so before
        # Of what is registered there is nothing here.
        return f"<{type(exc).__name__}>"
    if key.startswith("when"):
        return found if isinstance(found, bool) else f"no boolean: {found!r}"
    if key.startswith(OURS) and found in ("", None, [""]):
        return OMIT  # plugin_utils/role_action.py
    return plain(found)


def outcome(said: list[tuple[str, str, Any]], variables: dict[str, Any], loader: DataLoader) -> list[Any]:
    """What each expression makes; of a task that is skipped, only that it is."""
    templar, known = Templar(loader=loader, variables=variables), {}
    made = []
    for _where, key, text in said:
        kind = key.partition(".")[0] if key.startswith(OURS) else key.partition("[")[0]
        if (kind, str(text)) not in known:  # many tasks say the same
            known[kind, str(text)] = evaluate(key, text, templar)
        made.append(known[kind, str(text)])
    skipped = {where for (where, key, _text), value in zip(said, made) if key.startswith("when") and value is False}
    return ["<skipped>" if where in skipped else value for (where, _key, _text), value in zip(said, made)]


def main() -> None:
    init_plugin_loader([str(TOP / ".work/collections")])
    loader = DataLoader()
    compared, differences = 0, []
    for role in sorted((TOP / "roles").iterdir()):
        if role.name in sys.argv[1:]:
            continue
        options = loader.load_from_file(str(role / "meta/argument_specs.yml"))["argument_specs"]["main"]["options"]
        made: dict[str, Any] = {}
        for part in ("defaults", "vars"):
            if (role / part / "main.yml").exists():
                made.update(loader.load_from_file(str(role / part / "main.yml"), **TRUSTED))
        everything = [(where, key, text) for where, task in tasks(role, loader) for key, text in expressions(task)]
        for name, option in options.items():
            names = {name, *(other for other in made if name in str(made[other]))}
            names |= {other for other in made if any(one in str(made[other]) for one in names)}
            said = [entry for entry in everything if any(one in str(entry[2]) for one in names)]
            outcomes: dict[str, list[Any]] = {}
            for one, other in spellings(option):
                both = []
                for value in (one, other):
                    variables = {**BASE, **made, **({} if value == OMIT else {name: value})}
                    if value == OMIT and name in BASE:
                        variables.pop(name)
                    if repr(value) not in outcomes:
                        outcomes[repr(value)] = outcome(said, variables, loader)
                    both.append(outcomes[repr(value)])
                for (where, key, _text), first, second in zip(said, *both):
                    compared += 1
                    if first != second:
                        differences.append(
                            f"{where}, {key}, {name}: {one!r} makes {first!r}, {other!r} makes {second!r}"
                        )
    json.dump({"compared": compared, "differences": differences}, sys.stdout)


if __name__ == "__main__":
    main()
