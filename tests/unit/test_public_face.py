# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that users write: playbooks, roles, variables and options, each of which can be derived from another.

A role that lacks an option of its module, a default of an action group that one of its modules does not take, and a playbook
that runs a role of another name have all been there.
"""

from __future__ import annotations

import fnmatch
import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.holdfast.postgres.plugins.module_utils import argspec
from ansible_collections.holdfast.postgres.plugins.module_utils.status.metrics import FAMILIES
from ansible_collections.holdfast.postgres.plugins.plugin_utils.variables import OF_PLAYS, SHARED, known_names, variable
from tools.role_docs import readme

TOP = Path(__file__).resolve().parent.parent.parent
ROLES = sorted(path.name for path in (TOP / "roles").iterdir())
MODULES = sorted(path.stem for path in (TOP / "plugins/modules").glob("*.py"))

# Which modules a role's variables are for.
USES = {
    "archive": ["wal_archive"],
    "audit": ["wal_audit"],
    "backup": ["pg_backup"],
    "capture": ["k8s_capture"],
    "check": ["backup_check"],
    "copy": ["backup_copy"],
    "drill": ["pg_drill"],
    "health": ["backup_health"],
    "kubernetes_backup": ["k8s_job"],
    "kubernetes_restore": ["cnpg_restore", "k8s_clone", "k8s_recover", "k8s_replica", "pvc_snapshot"],
    "monitor": ["backup_health", "backup_metrics"],
    "promote": ["pg_standby"],
    "prune": ["backup_prune"],
    "recover": ["pg_recover"],
    "report": ["backup_report", "report_file"],
    "restore": ["pg_restore"],
    "restore_point": ["pg_restore_point"],
    "rotate_credentials": ["azure_sas"],
    "rotate_passphrase": ["backup_passphrase"],
    "runbook": ["runbook_record"],
    "schedule": ["k8s_cron_job"],
    "setup": ["backup_role"],
    "ship": ["wal_ship"],
    "standby": ["pg_standby"],
    "status": ["backup_status"],
    "verify": ["backup_verify"],
}

# Options of modules that a role has no variable for, and why.
CLIENT_CERTIFICATES = {"ssl_cert", "ssl_key"}  # connect_params has them: sslcert, sslkey
ALWAYS = {"progress_file"}  # the action plugin's
LEFT_OUT: dict[str, set[str]] = {
    "archive": {"recoverable"},  # asked for by the role itself, once there is a backup
    "backup": {"state"},  # a backup is deleted by the module, not by a play that makes them
    "check": {"server_name"},  # the repository is looked at, not a server's part of it
    "health": {"metrics"},  # the role monitor's
    "monitor": {"metrics", "fail_on"},  # handed from one module to the other; alert rules judge how bad it is
    # Whether the standby follows, and building one, is the role standby's.
    "promote": set(argspec.ARCHIVER)
    | set(argspec.ENCRYPTION)
    | set(argspec.REPOSITORY)
    | {
        "state", "replication_user", "replication_password", "slot_name", "drop_slots", "source", "engine", "compression",
        "compression_level", "backup_id", "owner", "config_file", "settings", "tablespace_locations", "rewind", "max_rate",
        "service", "stop_server", "accept_unsigned",
    },
    "report": {"variable"},  # the role's own
    "setup": {"state"},
    "standby": {"synchronous_standbys"},  # of a promotion, which is the role promote's
}  # fmt: skip

# Variables of a role that are no option of its module: the role acts upon them itself, or hands them to another module.
# server_user takes holdfast_become_user, first of all in every role.
OWN: dict[str, set[str]] = {
    "archive": {
        "holdfast_retention", "holdfast_service", "holdfast_archive_unit", "holdfast_archive_unit_dir",
        "holdfast_archive_unit_start",
        "holdfast_archive_manager", "holdfast_archive_pod", "holdfast_kubernetes",
        "holdfast_archive_restart", "holdfast_archive_restart_command",
        "holdfast_archive_prove", "holdfast_archive_backup", "holdfast_archive_backup_max_age",
    },
    "backup": {
        "holdfast_backup_engine",
        # cnpg_backup's, which the role runs instead where the engine is the operator
        "holdfast_kubernetes", "holdfast_backup_cluster", "holdfast_backup_method", "holdfast_backup_target", "holdfast_backup_online",
        "holdfast_backup_immediate_checkpoint", "holdfast_backup_deadline",
    },
    "monitor": {
        "holdfast_monitor_webhook_url", "holdfast_monitor_webhook_shape", "holdfast_monitor_webhook_token", "holdfast_monitor_webhook_ca_cert",
        "holdfast_monitor_told_dir",
    },
    "recover": {"holdfast_repositories", "holdfast_recover_tier"},
    "restore": {
        "holdfast_repositories", "holdfast_restore_tier", "holdfast_restore_point_name", "holdfast_interactive",
    },
    "ship": {
        "holdfast_ship_service", "holdfast_ship_state", "holdfast_ship_unit", "holdfast_ship_unit_dir", "holdfast_ship_unit_start",
        "holdfast_ship_config_dir",
    },
    "status": {"holdfast_status_fail_on"},
}  # fmt: skip

HEALTH = {
    "holdfast_health_expected_every", "holdfast_health_archiving", "holdfast_health_engine_config", "holdfast_health_compression",
    "holdfast_health_compression_level", "holdfast_health_schedule_dir", "holdfast_health_cron_dir", "holdfast_health_rules",
}  # fmt: skip
# A role that reads what another one was told, since it looks after the same thing.
BORROWED = {
    "audit": {"holdfast_archive_compression", "holdfast_archive_jobs", "holdfast_archive_streaming"},
    "monitor": HEALTH,
    "report": HEALTH,
    "restore": {"holdfast_restore_point_name"},
    "runbook": {
        "holdfast_restore_databases", "holdfast_restore_tables", "holdfast_restore_backup_id", "holdfast_restore_before", "holdfast_restore_confirm",
        "holdfast_restore_tier", "holdfast_recover_confirm", "holdfast_recover_backup_id", "holdfast_recover_tier",
    },
}  # fmt: skip

# These call several modules, or none, and have their own words.
SEVERAL = {"audit", "kubernetes_backup", "kubernetes_restore", "runbook", "setup", "schedule", "rotate_passphrase"}


def options_of_role(role: str) -> dict[str, dict[str, Any]]:
    spec = yaml.safe_load((TOP / "roles" / role / "meta/argument_specs.yml").read_text())["argument_specs"]
    assert list(spec) == ["main"]
    options: dict[str, dict[str, Any]] = spec["main"]["options"]
    return options


class Captured(Exception):
    """A module's arguments, instead of the module."""


def options_of_module(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    module = importlib.import_module(f"ansible_collections.holdfast.postgres.plugins.modules.{name}")

    def capture(*, argument_spec: dict[str, Any], **_more: Any) -> None:
        raise Captured(argument_spec)

    monkeypatch.setattr(module, "AnsibleModule", capture)
    with pytest.raises(Captured) as caught:
        module.main()
    spec: dict[str, dict[str, Any]] = caught.value.args[0]
    return spec


def documentation(name: str) -> str:
    text: str = importlib.import_module(f"ansible_collections.holdfast.postgres.plugins.modules.{name}").DOCUMENTATION
    return text


# Playbooks that run no role of ours.
OTHER_PLAYBOOKS = {"configure_awx"}


def test_every_role_has_a_playbook_of_its_name() -> None:
    playbooks = sorted(path.stem for path in (TOP / "playbooks").glob("*.yml"))
    assert sorted(set(playbooks) - OTHER_PLAYBOOKS) == ROLES == sorted(USES)
    for name in ROLES:
        (play,) = yaml.safe_load((TOP / "playbooks" / f"{name}.yml").read_text())
        # The role validates by itself: Ansible would refuse a survey's empty answers.
        assert [task["ansible.builtin.import_role"] for task in play["tasks"]] == [
            {"name": f"holdfast.postgres.{name}", "rolespec_validate": False}
        ]
        assert play["hosts"] == "{{ holdfast_hosts | default('all') }}"


@pytest.mark.parametrize("path", sorted((TOP / "plugins/doc_fragments").glob("*.py")), ids=lambda path: path.stem)
def test_fragments_can_be_read(path: Path) -> None:
    """A colon in a sentence makes a mapping of it, and the documentation of every module that has the fragment is gone."""
    fragment = importlib.import_module(f"ansible_collections.holdfast.postgres.plugins.doc_fragments.{path.stem}")
    for name, text in vars(fragment.ModuleDocFragment).items():
        if name.isupper():
            _sentences(yaml.safe_load(text))


@pytest.mark.parametrize("name", MODULES)
def test_documentation_can_be_read(name: str) -> None:
    module = importlib.import_module(f"ansible_collections.holdfast.postgres.plugins.modules.{name}")
    _sentences(yaml.safe_load(module.DOCUMENTATION))
    for text in (module.EXAMPLES, module.RETURN):
        assert yaml.safe_load(text)


def _sentences(documented: dict[str, Any]) -> None:
    """Each description is text."""
    for name, entry in (documented.get("options") or documented.get("suboptions") or {}).items():
        description = entry["description"]
        assert all(
            isinstance(line, str) for line in ([description] if isinstance(description, str) else description)
        ), name
        _sentences(entry)


@pytest.mark.parametrize("name", ROLES)
def test_a_playbooks_head_has_its_variables_and_three_calls(name: str) -> None:
    comment = (TOP / "playbooks" / f"{name}.yml").read_text().partition("\n- name:")[0]
    order, _mark, rest = comment.partition("# Variables")
    variables, _mark, calls = rest.partition("# To copy:")
    assert "# 1. " in order and calls.count(f"ansible-playbook -i inventory holdfast.postgres.{name} ") == 3
    said = re.findall(r"holdfast_[a-z_]+\*?", variables)
    options = [*options_of_role(name), *(f"holdfast_{word}" for word in OF_PLAYS)]
    assert all(fnmatch.filter(options, pattern) for pattern in said), variables
    assert not [name for name in options_of_role(name) if not any(fnmatch.fnmatch(name, one) for one in said)]
    assert set(re.findall(r"\bholdfast_[a-z_]+", order + calls)) <= known_names()


@pytest.mark.parametrize("role", ROLES)
def test_the_readme_of_a_role_has_its_variables(role: str) -> None:
    assert (TOP / "roles" / role / "README.md").read_text() == readme(role), "run tests/tools/role_docs.py"


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_obeys_the_rule(role: str) -> None:
    shared = {f"holdfast_{name}" for name in SHARED}
    for name in options_of_role(role):
        assert name in shared or name.startswith(f"holdfast_{role}_") or name in BORROWED.get(role, set()), name
        assert not any(
            other != role and name.startswith(f"holdfast_{other}_") and len(other) > len(role) for other in ROLES
        ) or name in BORROWED.get(role, set()), f"{name} reads as another role's"


def test_every_shared_name_is_some_roles() -> None:
    options = {name.removeprefix("holdfast_") for role in ROLES for name in options_of_role(role)}
    assert options >= SHARED - OF_PLAYS


@pytest.mark.parametrize("role", [role for role in ROLES if role not in SEVERAL])
def test_a_role_has_every_option_of_its_module(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    takes = options_of_role(role)
    wanted: dict[str, dict[str, Any]] = {}
    for module in USES[role]:
        for option, spec in options_of_module(module, monkeypatch).items():
            if option not in CLIENT_CERTIFICATES | ALWAYS | LEFT_OUT.get(role, set()):
                wanted[variable(role, option)] = spec
    assert set(takes) - OWN.get(role, set()) - {"holdfast_become_user"} == set(wanted)
    for name, spec in wanted.items():
        assert takes[name]["type"] == spec.get("type", "str"), name
        assert takes[name].get("elements") == spec.get("elements"), name
        assert not spec.get("no_log") or takes[name].get("no_log") or spec["type"] == "dict", f"{name} is secret"


@pytest.mark.parametrize("role", [role for role in ROLES if role not in SEVERAL])
def test_a_role_requires_what_its_module_requires(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it is said by the variable's name, before anything is done. One of several repositories is asked for by role_problems."""
    takes, tasks = options_of_role(role), (TOP / "roles" / role / "tasks/main.yml").read_text()
    for module in USES[role]:
        for option, spec in options_of_module(module, monkeypatch).items():
            name = variable(role, option)
            if name not in takes:
                continue
            if option == "repository" and "holdfast_repositories" in takes:
                assert "repository=" in tasks, role
                continue
            assert takes[name].get("required", False) == spec.get("required", False), name
            assert not spec.get("required") or "default" not in takes[name], name


@pytest.mark.parametrize("role", ROLES)
def test_tasks_hand_every_variable_on(role: str) -> None:
    """An option that argument_specs.yml describes and no task reads has no effect."""
    text = "".join(
        path.read_text() for path in (TOP / "roles" / role).rglob("*") if path.is_file() and "meta" not in path.parts
    )
    for name in options_of_role(role):
        assert name in text, name


def test_what_a_backup_by_an_operator_is_told() -> None:
    """All that its task reads, and no name that is no option; what else the role takes is refused then, also what it will take one day."""
    first = yaml.safe_load((TOP / "roles/backup/tasks/main.yml").read_text())[0]
    told = first["vars"]["holdfast_backup_operators"]
    reads = set(re.findall(r"\bholdfast_\w+", (TOP / "roles/backup/tasks/cnpg.yml").read_text())) - {"holdfast_backup"}
    assert reads <= set(told) <= set(options_of_role("backup"))
    for name in ("holdfast_retention", "holdfast_encryption", "holdfast_repositories", "holdfast_backup_databases"):
        assert name not in told


def test_every_module_of_an_action_group_takes_all_of_its_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = yaml.safe_load((TOP / "meta/runtime.yml").read_text())["action_groups"]
    defaults = {
        "server": set(argspec.CONNECTION),
        "repository": {"repository", "server_name"},
        "engine": {*argspec.ENCRYPTION, *argspec.ARCHIVER, "engine"},
        "kubernetes": set(argspec.KUBERNETES),
    }
    assert set(groups) == set(defaults)
    for module in MODULES:
        options = set(options_of_module(module, monkeypatch))
        for group, names in defaults.items():
            if module in groups[group]:
                assert options >= names, f"{module} lacks defaults of {group}"
        documented = yaml.safe_load(documentation(module))["attributes"].get("action_group", {}).get("membership", [])
        assert documented == [f"holdfast.postgres.{group}" for group in groups if module in groups[group]], module
        for group in ("server", "kubernetes"):
            assert (module in groups[group]) == (options >= defaults[group]), module
    for role in ROLES:
        for path in (TOP / "roles" / role / "tasks").glob("*.yml"):
            for task in yaml.safe_load(path.read_text()):
                for group, given in task.get("module_defaults", {}).items():
                    assert set(given) <= defaults[group.rpartition(".")[2]]


def test_names_that_roles_make_are_known() -> None:
    known = known_names()
    assert {"holdfast_restore", "holdfast_schedule_one", "holdfast_archive_canary", "holdfast_backups"} <= known


# A store and an engine that CONTRIBUTING.md adds, as examples.
MADE_UP = ("webdav", "pg_keep")

PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in sorted((TOP / "docs").glob("*.md")))]


@pytest.mark.parametrize("page", PAGES)
def test_pages_name_what_there_is(page: str) -> None:
    """Variables, playbooks, and files that a page speaks of. What CONTRIBUTING.md makes up as an example has names of its own."""
    text = (TOP / page).read_text()
    assert set(re.findall(r"\bholdfast_[a-z_]+[a-z]", text)) - {"holdfast_canary"} <= known_names() | set(FAMILIES)
    runbooks = {f"dr.{path.stem}" for path in (TOP / "playbooks/dr").glob("*.yml")}
    assert set(re.findall(r"ansible-playbook \S+ \S+ holdfast\.postgres\.([\w.]+\w)", text)) <= {*ROLES, *runbooks}
    for path in re.findall(r"`((?:[\w.-]+/)+[\w.-]*)`", text):
        first = path.partition("/")[0]
        ours = (
            TOP / first
            if first in {"plugins", "tests", "playbooks", "docs", "changelogs"}
            else TOP / "plugins/module_utils" / first
        ).is_dir()
        assert (
            not ours
            or any(name in path for name in MADE_UP)
            or any((top / path).exists() for top in (TOP, TOP / "plugins/module_utils", TOP / "plugins"))
            or (TOP / "tests" / f"{path}.py").exists()  # a test's file, as the lists name it
        ), path
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (TOP / page).parent.joinpath(link).exists(), link


@pytest.mark.parametrize("page", ["docs/cases.md", "docs/promises.md"])
def test_the_tests_that_a_page_names_are_there(page: str) -> None:
    """`test_stops::a_job_is_cancelled` is a function below tests/integration, `unit/test_files` a file below tests/unit, and so with
    tests/kubernetes."""
    named = re.findall(r"`((?:(?:unit|kubernetes)/(?:\w+/)*)?test_\w+)(?:::(\w+))?`", (TOP / page).read_text())
    assert named
    for name, function in named:
        path = TOP / "tests" / (f"{name}.py" if "/" in name else f"integration/{name}.py")
        assert path.exists(), f"{page} names {name}"
        assert not function or f"\ndef test_{function}(" in path.read_text(), f"{page} names {name}::{function}"


@pytest.mark.parametrize("path", sorted((TOP / "changelogs/fragments").glob("*.yml")), ids=lambda path: path.stem)
def test_changelog_fragments_have_the_form(path: Path) -> None:
    """As antsibull-changelog reads them: sections that it knows, each a list of sentences in reStructuredText."""
    fragment = yaml.safe_load(path.read_text())
    known = {"major_changes", "minor_changes", "breaking_changes", "security_fixes", "bugfixes", "known_issues"}
    assert set(fragment) <= known | {"release_summary"}
    for section, sentences in fragment.items():
        assert isinstance(sentences, str if section == "release_summary" else list)
        assert all(isinstance(sentence, str) for sentence in sentences), section
        assert not re.search(r"\b[COVM]\(", str(sentences)), "in a changelog code is written ``so``"
