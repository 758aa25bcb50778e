# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""extensions/awx, as the playbook configure_awx hands it on. infra.aap_configuration is on Galaxy alone, so a stand-in of its role ``dispatch``
writes down what arrives; that is held against the argument specifications of awx.awx, and against what AWX itself asks of surveys and rules
(awx/main/models/mixins.py, awx/api/serializers.py). No AWX runs here."""

from __future__ import annotations

import importlib
import json
import re
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.holdfast.postgres.plugins.plugin_utils.variables import role_options
from lab.answers import ok
from lab.playbooks import CHECKOUT, PlaybookResult, collections_path, run_module, run_playbook
from lab.servers import Server

from .test_playbooks import changes, play, variables

DISPATCH = """
- name: Write down what arrives
  ansible.builtin.copy:
    dest: "{{ written }}"
    content: "{{ dict(names | zip(query('ansible.builtin.vars', *names))) | to_json }}"
    mode: "0600"
  vars:
    names: "{{ query('ansible.builtin.varnames', '^controller_') }}"
"""
GIVEN = {
    "aap_hostname": "https://awx.example.org",
    "holdfast_awx_image": "registry.example.org/holdfast:1.0",
    "holdfast_awx_project_url": "https://git.example.org/holdfast.git",
    "holdfast_awx_repository": {"type": "s3", "bucket": "backups", "region": "eu-central-1"},
    "holdfast_awx_credentials": ["ssh", "pg"],
    "holdfast_awx_timezone": "Europe/Berlin",
    "holdfast_awx_calendars": {"backup": "Mon..Fri *-*-* 22:15"},
    "holdfast_awx_organization": "",
}
# By the variable of infra.aap_configuration: the module of awx.awx that an entry becomes.
MODULES = {
    "controller_credential_types": "credential_type",
    "controller_execution_environments": "execution_environment",
    "controller_projects": "project",
    "controller_inventories": "inventory",
    "controller_templates": "job_template",
    "controller_workflows": "workflow_job_template",
    "controller_schedules": "schedule",
}


def configure(scratch: Path, given: dict[str, Any]) -> PlaybookResult:
    tasks = scratch / "collections/ansible_collections/infra/aap_configuration/roles/dispatch/tasks"
    tasks.mkdir(parents=True, exist_ok=True)
    (tasks / "main.yml").write_text(DISPATCH)
    paths = f"{scratch}/collections:{collections_path()}"
    return run_playbook(
        CHECKOUT / "playbooks/configure_awx.yml",
        {**given, "written": str(scratch / "made.json")},
        env={"ANSIBLE_COLLECTIONS_PATH": paths},
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    scratch = tmp_path_factory.mktemp("awx")
    run = configure(scratch, GIVEN)
    assert run.returncode == 0, run.stdout + run.stderr
    found: dict[str, list[dict[str, Any]]] = json.loads((scratch / "made.json").read_text())
    return found


def specification(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A module's own, as awx.awx has it."""
    pytest.importorskip(
        "ansible_collections.awx.awx.plugins.module_utils.controller_api",
        reason="awx.awx is not installed (tests/tools/install_collections.sh)",
    )
    module = importlib.import_module(f"ansible_collections.awx.awx.plugins.modules.{name}")
    caught: list[dict[str, Any]] = []

    def capture(*, argument_spec: dict[str, Any], **_more: Any) -> None:
        caught.append(argument_spec)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "ControllerAPIModule", capture)
    with pytest.raises(KeyboardInterrupt):
        module.main()
    return caught[0]


def test_everything_is_what_the_modules_take(made: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(made) == set(MODULES)
    for variable, module in MODULES.items():
        spec = ArgumentSpecValidator(specification(module, monkeypatch))
        node = ArgumentSpecValidator(specification("workflow_job_template_node", monkeypatch))
        assert made[variable]
        for entry in made[variable]:
            nodes = entry.pop("simplified_workflow_nodes", [])
            assert spec.validate(entry).error_messages == [], entry["name"]
            for one in nodes:
                assert node.validate({**one, "workflow": entry["name"]}).error_messages == [], one
            entry["simplified_workflow_nodes"] = nodes


def test_what_refers_to_another_object_finds_it(made: dict[str, Any]) -> None:
    names = {variable: {entry["name"] for entry in entries} for variable, entries in made.items()}
    for template in made["controller_templates"]:
        assert template["project"] in names["controller_projects"]
        assert template["inventory"] in names["controller_inventories"]
        assert template["execution_environment"] in names["controller_execution_environments"]
        assert (CHECKOUT / template["playbook"]).is_file()
        assert template["organization"] == "Default"  # an empty answer is none
        assert template["credentials"] == ["ssh", "pg"]
    for schedule in made["controller_schedules"]:
        assert schedule["unified_job_template"] in names["controller_templates"]
        assert schedule["enabled"] is False
    for workflow in made["controller_workflows"]:
        nodes = {node["identifier"]: node for node in workflow["simplified_workflow_nodes"]}
        edges = [
            (name, after)
            for name, node in nodes.items()
            for kind in ("success_nodes", "failure_nodes", "always_nodes")
            for after in node.get(kind, [])
        ]
        assert {after for _name, after in edges} == set(nodes) - {"plan"}
        for node in nodes.values():
            assert ("approval_node" in node) != (node.get("unified_job_template") in names["controller_templates"])


def test_nothing_destructive_runs_before_a_person_agreed(made: dict[str, Any]) -> None:
    """Kind: a workflow in which a node that replaces data is reached another way."""
    for workflow in made["controller_workflows"]:
        nodes = {node["identifier"]: node for node in workflow["simplified_workflow_nodes"]}
        reached, ahead = set(), ["plan"]
        while ahead:  # what is reached without passing an approval
            name = ahead.pop()
            reached.add(name)
            if "approval_node" not in nodes[name]:
                ahead += [after for kind in ("success_nodes", "failure_nodes") for after in nodes[name].get(kind, [])]
        without = [nodes[name] for name in reached if "approval_node" not in nodes[name]]
        assert all(node.get("job_type") == "check" for node in without), workflow["name"]
        destructive = {"holdfast restore", "holdfast recover", "holdfast runbook"}
        assert [
            node
            for node in nodes.values()
            if node.get("unified_job_template") in destructive and "job_type" not in node
        ]


def test_what_nodes_say_is_not_asked_and_the_templates_ask_for_it(made: dict[str, Any]) -> None:
    """A workflow's own variables take precedence over its nodes': an answer there would overrule the plan."""
    surveys = {
        one["name"]: {question["variable"] for question in one["survey_spec"]["spec"]}
        for one in made["controller_templates"]
    }
    said = 0
    for workflow in made["controller_workflows"]:
        asked = {question["variable"] for question in workflow["survey_spec"]["spec"]}
        for node in workflow["simplified_workflow_nodes"]:
            names = set(node.get("extra_data", {}))
            said += len(names)
            assert names <= surveys.get(node.get("unified_job_template", ""), set())
            assert not names & asked
    assert said > 4


def test_rules_are_as_awx_wants_them(made: dict[str, Any]) -> None:
    rules = {entry["name"]: entry["rrule"] for entry in made["controller_schedules"]}
    assert rules["holdfast nightly backup"] == (
        "DTSTART;TZID=Europe/Berlin:20260101T000000 RRULE:FREQ=WEEKLY;INTERVAL=1;BYDAY=MO,TU,WE,TH,FR;BYHOUR=22;BYMINUTE=15"
    )
    for rule in rules.values():
        assert re.match(r"DTSTART(;TZID=[\w/]+)?:\d{8}T\d{6}Z? RRULE:", rule)
        assert "INTERVAL=" in rule and "SECONDLY" not in rule


def test_surveys_are_as_awx_wants_them(made: dict[str, Any]) -> None:
    """What is said in a survey is text, a number, or one of its choices; nothing has a default, least of all what confirms."""
    for template in made["controller_templates"]:
        role = template["name"].split()[1]
        asked = template["survey_spec"]["spec"]
        assert template["survey_enabled"] and template["survey_spec"]["name"]
        names = [question["variable"] for question in asked]
        assert len(set(names)) == len(names) > 0
        for question in asked:
            assert question["type"] in ("text", "textarea", "password", "integer", "float", "multiplechoice")
            assert question["question_name"] and question["question_description"]
            assert "default" not in question
            assert ("choices" in question) == (question["type"] == "multiplechoice")
        options = role_options(role)
        assert {name for name in names if name in options and options[name].get("no_log")} == {
            question["variable"] for question in asked if question["type"] == "password"
        }
        assert template["ask_variables_on_launch"] and template["ask_job_type_on_launch"]


def test_no_secret_is_an_extra_variable(made: dict[str, Any]) -> None:
    for kind in made["controller_credential_types"]:
        assert set(kind["injectors"]) == {"file", "env"}
        secret = {field["id"] for field in kind["inputs"]["fields"] if field.get("secret")}
        for name, value in kind["injectors"]["env"].items():
            read = re.findall(r"{{ ([\w.]+) }}", value)
            assert (
                len(read) == 1 and (read[0] not in secret) and (name.endswith("_FILE") == read[0].startswith("tower."))
            )
        assert {f"{{{{ {name} }}}}" for name in secret} == set(kind["injectors"]["file"].values())


def test_the_inventory_reads_what_the_credentials_bring(made: dict[str, Any], tmp_path: Path) -> None:
    """By a script, which is how AWX hands its inventory to Ansible. Members: with each credential, and without any."""
    (inventory,) = made["controller_inventories"]
    script = tmp_path / "awx"
    listed = {"all": {"hosts": ["db1"], "vars": inventory["variables"]}, "_meta": {"hostvars": {"db1": {}}}}
    (tmp_path / "inventory.json").write_text(json.dumps(listed))
    script.write_text(f"#!/bin/sh\ncat {tmp_path}/inventory.json\n")
    script.chmod(0o755)
    book = tmp_path / "show.yml"
    names = ["holdfast_login_user", "holdfast_login_password", "holdfast_encryption"]
    show = {name: f"{{{{ {name} }}}}" for name in names}
    tasks = [{"ansible.builtin.debug": {"msg": show}}, {"ansible.builtin.debug": {"var": "holdfast_repository"}}]
    book.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    secrets = {
        "HOLDFAST_LOGIN_PASSWORD_FILE": 'pa"ss {{ wörd }}',
        "HOLDFAST_PASSPHRASE_FILE": "phrase",
        "HOLDFAST_S3_SECRET_KEY_FILE": "s3",
    }
    for name, text in secrets.items():
        (tmp_path / name).write_text(text)
    env = {name: str(tmp_path / name) for name in secrets}
    env |= {"HOLDFAST_LOGIN_USER": "backup", "HOLDFAST_S3_ACCESS_KEY": "AKIA"}
    done = run_playbook(book, inventory=str(script), env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = done.of("ansible.builtin.debug")
    assert shown[0]["msg"] == {
        "holdfast_login_user": "backup",
        "holdfast_login_password": secrets["HOLDFAST_LOGIN_PASSWORD_FILE"],
        "holdfast_encryption": {"method": "aes256", "passphrase": "phrase"},
    }
    assert shown[1]["holdfast_repository"] == {
        **GIVEN["holdfast_awx_repository"],
        "access_key": "AKIA",
        "secret_key": "s3",
    }  # type: ignore[dict-item]
    assert run_playbook(book, inventory=str(script)).of("ansible.builtin.debug")[0]["msg"] == dict.fromkeys(names, "")


def test_what_is_missing_is_named_at_once(tmp_path: Path) -> None:
    run = configure(tmp_path, {"holdfast_awx_image": ""})
    assert run.returncode and not (tmp_path / "made.json").exists()
    wanted = (
        "Set holdfast_awx_image, holdfast_awx_project_url, holdfast_awx_repository, aap_hostname. Nothing was made."
    )
    assert wanted in run.stdout


class _Unsafe(str):
    """A string that AWX marks: what a person said at launch is never a template."""


def _unsafe(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("!unsafe", str(text), style="'")


yaml.SafeDumper.add_representer(_Unsafe, _unsafe)


def test_a_survey_restores_what_has_quotes_and_blanks(pg15: Server, tmp_path: Path) -> None:
    """Kind: an answer that is read as something else than text. Members: blanks, both quotes, commas, braces of a template, letters that are not
    ASCII, what nobody answered (''), numbers, booleans as text; a database, its new name, the confirmation."""
    source, target = 'Käufe, "2026" & Söhne\'s', "{{ käufe }} von 'gestern'"
    for name in (source, target):
        pg15.psql(f'CREATE DATABASE "{name}"'.replace('"2026"', '""2026""'))
    pg15.psql("CREATE TABLE t AS SELECT generate_series(1, 7) AS n", source)
    pg15.psql("CREATE TABLE old AS SELECT 1 AS n", target)
    (tmp_path / "backups").mkdir()
    given = variables(pg15, tmp_path / "backups")
    place = {"repository": given["holdfast_repository"], "server_name": "db1", "bin_dir": str(pg15.bindir)}
    ok(run_module("pg_backup", {**pg15.login(), **place, "databases": [source], "globals": False}))

    template = next(
        entry
        for entry in yaml.safe_load((CHECKOUT / "extensions/awx/job_templates.yml").read_text())["controller_templates"]
        if entry["name"] == "holdfast restore"
    )
    said = {
        "holdfast_restore_databases": _Unsafe(json.dumps([source], ensure_ascii=False)),
        "holdfast_restore_target_db": _Unsafe(target),
        "holdfast_restore_force": _Unsafe("true"),
        "holdfast_restore_confirm": _Unsafe(json.dumps([target], ensure_ascii=False)),
        "holdfast_restore_globals": _Unsafe("false"),
        "holdfast_restore_jobs": 2,
    }
    questions = {question["variable"] for question in template["survey_spec"]["spec"]}
    assert set(said) <= questions
    answers = tmp_path / "extravars"
    answers.write_text(yaml.safe_dump({**dict.fromkeys(questions, ""), **said}, allow_unicode=True))
    answers.chmod(stat.S_IRUSR | stat.S_IWUSR)
    assert changes(play("restore", given, "-e", f"@{answers}"))
    assert pg15.query("SELECT count(*) FROM t", target) == [(7,)]
