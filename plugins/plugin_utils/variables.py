# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names of the roles' variables: which there are, and what a misspelt one was meant to be.

The rule: a variable is ``holdfast_<shared name>``, or ``holdfast_<role>_<name>`` for what one role alone is told. A misspelt one
would otherwise be as if it were not there, and a backup that was to be encrypted is not.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import yaml

PREFIX = "holdfast_"

# The one in C takes a tenth of the time, where PyYAML has it: each task reads its role's options in a process of its own.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# What several roles are told, without the prefix. Whatever else there is has the name of its role.
SHARED = frozenset(
    {
        # the play and its output
        "hosts", "many", "ignore_variables", "progress_interval", "become_user", "python_venv", "interactive",
        # the server, and how it is reached
        "login_host", "login_unix_socket", "login_port", "login_user", "login_password", "login_db", "ssl_mode", "ca_cert",
        "connect_params", "bin_dir", "data_directory", "owner", "service", "patroni",
        # the server that a standby follows
        "primary_host", "primary_port", "primary_user", "primary_password", "primary_db",
        # where backups are kept, how, and for how long
        "repository", "repositories", "server_name", "encryption", "retention", "accept_new_server",
        # the engine
        "engine", "engine_program", "engine_options", "config_dir", "wal_directory",
        # how far a server is brought back
        "recovery_target",
        "schedules",
        # a disaster, by whichever runbook
        "dr_mode", "dr_gates", "dr_approved", "dr_continue", "dr_take_over", "dr_prove", "dr_rto", "dr_rpo", "dr_isolate_tasks", "dr_reopen_tasks",
        # a cluster, and the namespace in it
        "kubernetes",
    }
)  # fmt: skip

# Shared ones that are no role's option: the playbooks, this check, and the modules' action plugin read them.
OF_PLAYS = frozenset({"hosts", "many", "ignore_variables", "progress_interval"})

# What the playbook configure_awx is told: extensions/awx/settings.yml, without the prefix.
OF_AWX = frozenset(
    {
        "awx_image", "awx_project_url", "awx_repository", "awx_repository_credential", "awx_organization", "awx_project",
        "awx_project_branch", "awx_inventory", "awx_inventory_variables", "awx_execution_environment", "awx_credentials",
        "awx_notifications", "awx_timezone", "awx_calendars", "awx_schedules_enabled", "awx_approval_timeout",
    }
)  # fmt: skip

# backup_facts returns the one as a fact, and the role status hands the other on.
FACTS = frozenset({"holdfast_backups", "holdfast_server_status"})

# The role's variable for an option of its module, where it does not follow from the rule.
RENAMED = {
    ("archive", "archive_command"): "holdfast_archive_command",
    ("archive", "archive_timeout"): "holdfast_archive_timeout",
    ("archive", "timeout"): "holdfast_archive_verify_timeout",
    ("audit", "timeout"): "holdfast_audit_verify_timeout",
    ("audit", "compression"): "holdfast_archive_compression",
    ("audit", "jobs"): "holdfast_archive_jobs",
    ("audit", "streaming"): "holdfast_archive_streaming",
    ("backup", "backup_id"): "holdfast_backup_id",
    ("check", "retention"): "holdfast_check_retention",
    **{
        (role, name): f"holdfast_health_{name}"
        for role in ("monitor", "report")
        for name in (
            "archiving",
            "compression",
            "compression_level",
            "cron_dir",
            "engine_config",
            "expected_every",
            "rules",
            "schedule_dir",
        )
    },
    ("rotate_credentials", "repository"): "holdfast_rotate_credentials_repository",
    **{("runbook", name): f"holdfast_dr_{name}" for name in ("mode", "continue", "take_over", "rto", "rpo")},
    ("setup", "name"): "holdfast_setup_role_name",
    ("setup", "password"): "holdfast_setup_role_password",
}

ROLES = Path(__file__).resolve().parent.parent.parent / "roles"

# An option, a default, a variable of a role's own; or what a task registers, or loops by.
_NAMED = re.compile(r"^\s*(?:-\s+)?(holdfast_\w+):|^\s*(?:register|loop_var):\s*(holdfast_\w+)\s*$", re.MULTILINE)


def _named(paths: Iterable[Path]) -> set[str]:
    return {one or other for path in paths for one, other in _NAMED.findall(path.read_text(encoding="utf-8"))}


def option_names(roles: Path = ROLES) -> frozenset[str]:
    """Every variable that a user may set."""
    return frozenset({PREFIX + name for name in SHARED | OF_AWX} | _named(roles.glob("*/meta/argument_specs.yml")))


def known_names(roles: Path = ROLES) -> frozenset[str]:
    """Every variable that there may be: what a user may set, and what roles and modules make."""
    return option_names(roles) | FACTS | _named(roles.glob("*/*/*.yml"))


def role_options(role: str, roles: Path = ROLES) -> dict[str, dict[str, Any]]:
    """What a role may be told, as its argument_specs.yml has it."""
    text = (roles / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
    options: dict[str, dict[str, Any]] = yaml.load(text, Loader=_LOADER)["argument_specs"]["main"]["options"]
    return options


def variable(role: str, option: str) -> str:
    """A role's variable for its module's option, by the rule."""
    return RENAMED.get((role, option)) or PREFIX + (option if option in SHARED else f"{role}_{option}")


def in_variables(message: str, role: str, arguments: Iterable[str], options: Collection[str]) -> str:
    """A module's message as the user of a role reads it: ``force: true`` is ``holdfast_restore_force: true`` there.

    Only where one of the module's ``arguments`` stands as an option does, before a colon or the dot of a suboption.
    """
    names = {name: variable(role, name) for name in arguments if variable(role, name) in options}
    if not names:
        return message
    either = "|".join(sorted(names, key=len, reverse=True))
    return re.sub(rf"(?<![\w./-])({either})(?=: |\.[a-z])", lambda match: names[match.group(1)], message)


def meant(name: str, options: Collection[str]) -> list[str]:
    """What a name was meant to be, the likeliest first, three at most."""
    lower = name.lower()
    close = difflib.get_close_matches(lower, options, n=3, cutoff=0.75)
    if close and difflib.SequenceMatcher(None, close[0], lower).ratio() > 0.9:
        return close[:1]
    tail = lower.removeprefix(PREFIX)
    # a shared one written with a role's name, or a role's without it
    ends = [PREFIX + name for name in sorted(SHARED) if tail.endswith(f"_{name}")]
    ends += sorted(other for other in options if other.endswith(f"_{tail}"))
    return list(dict.fromkeys([*ends, *close]))[:3]


def _looks_like_ours(name: str, options: Collection[str]) -> bool:
    if name.lower().startswith(PREFIX):
        return True
    # a slip in the prefix itself, as in holfast_encryption
    return name.lower().startswith("ho") and bool(difflib.get_close_matches(name.lower(), options, n=1, cutoff=0.9))


def unknown(
    names: Iterable[str], known: Collection[str], options: Collection[str], ignored: Collection[str] = ()
) -> list[str]:
    """A sentence for each of these names that looks like a variable of ours and is none."""
    sentences = []
    for name in sorted(names):
        if name in known or name in ignored or not _looks_like_ours(name, options):
            continue
        others = meant(name, options)
        sentences.append(
            f"There is no variable {name}."
            + (f" Did you mean {' or '.join(others)}?" if others else "")
            + f" (One of your own is named in {PREFIX}ignore_variables.)"
        )
    return sentences
