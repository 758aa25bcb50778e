# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One table says what is true of each engine, and whoever names the engines names all that belong there.

The kind: an engine is new, and one list does not have it, so that its backups are damaged manifests, its archive is nobody's, or a module
does not take its name. The lists: the class that is opened, options and documentation of the modules, the manifest's schema, whose an
archive_command is, and the documents that tell users of the engines.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.holdfast.postgres.plugins.module_utils.catalog import schema
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import (
    ARCHIVING,
    COPYING,
    ENGINES,
    KINDS,
    PHYSICAL,
    WITH_REPOSITORY,
)
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.archiver import Archiver
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.open import OPENED
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.repository_engine import RepositoryEngine
from ansible_collections.holdfast.postgres.plugins.module_utils.server.archive_command import engine_of

TOP = Path(__file__).resolve().parents[2]
#: the modules with an option ``engine``, and which engines they take
TAKEN = {
    "pg_backup": COPYING,
    "pg_drill": COPYING,
    "backup_prune": COPYING,
    "backup_passphrase": COPYING,
    "backup_facts": [*WITH_REPOSITORY, "cnpg"],
    "backup_health": WITH_REPOSITORY,
    "backup_report": WITH_REPOSITORY,
    "backup_verify": COPYING,
    "backup_status": WITH_REPOSITORY,
    "wal_archive": ARCHIVING,
    "pg_recover": PHYSICAL,
    "pg_standby": PHYSICAL,
}
#: an ``archive_command`` of each engine that has a program of its own for it
COMMANDS = {
    "pgbackrest": "pgbackrest --stanza=main archive-push %p",
    "barman_cloud": "barman-cloud-wal-archive s3://b main %p",
    "wal_g": "wal-g wal-push %p",
}


def test_each_engine_is_opened_by_a_class_that_is_what_its_row_says() -> None:
    assert list(OPENED) == COPYING
    for name, row in ((name, ENGINES[name]) for name in COPYING):
        made_by = OPENED[name].made_by
        assert issubclass(made_by, RepositoryEngine) == row.has_repository, name
        # The stock engine's archive is written by a command of the shell, and has a folder of its own (engines/wal_directory).
        assert issubclass(made_by, Archiver) == (bool(row.archive) and row.has_repository), name
        assert not issubclass(made_by, RepositoryEngine) or made_by.reads_back == row.reads_back
        assert made_by.name == name and set(row.kinds) <= {"logical", *KINDS}
        assert ("kind" in OPENED[name].spec) == (name in PHYSICAL)
        assert (OPENED[name].choose is None) == row.has_repository, name


def test_a_role_that_names_the_engines_with_a_repository_names_them_all() -> None:
    said = yaml.safe_load((TOP / "roles/status/vars/main.yml").read_text(encoding="utf-8"))["holdfast_status_reads"]
    assert [name for name in ENGINES if repr(name) in said] == WITH_REPOSITORY


def options_of(documentation: str) -> dict[str, Any]:
    """The options that a module documents, by itself or by fragments of ours."""
    said = yaml.safe_load(documentation)
    found: dict[str, Any] = {}
    for fragment in said.get("extends_documentation_fragment", ()):
        name, _dot, part = fragment.partition("holdfast.postgres.")[2].partition(".")
        path = f"ansible_collections.holdfast.postgres.plugins.doc_fragments.{name}"
        text = getattr(importlib.import_module(path).ModuleDocFragment, (part or "documentation").upper())
        found.update(yaml.safe_load(text).get("options") or {})
    return {**found, **(said.get("options") or {})}


@pytest.mark.parametrize("module", sorted(path.stem for path in (TOP / "plugins" / "modules").glob("*.py")))
def test_each_module_takes_the_engines_that_it_can_and_says_so(module: str) -> None:
    source = importlib.import_module(f"ansible_collections.holdfast.postgres.plugins.modules.{module}")
    documented = options_of(source.DOCUMENTATION).get("engine")
    assert (documented is None) == (module not in TAKEN), "say in TAKEN which engines it takes"
    if documented is not None:
        assert documented["choices"] == TAKEN[module]


def test_a_manifest_can_be_of_each_engine() -> None:
    described = json.loads((TOP / "docs" / "manifest.schema.json").read_text())["properties"]
    assert described["engine"]["enum"] == list(ENGINES)
    assert sorted(described["kind"]["enum"]) == sorted({kind for row in ENGINES.values() for kind in row.kinds})
    for name, row in ENGINES.items():
        assert schema.FIELDS["engine"](name) and all(schema.FIELDS["kind"](kind) for kind in row.kinds)


def test_the_command_of_each_engine_is_known() -> None:
    assert sorted(COMMANDS) == sorted(name for name, row in ENGINES.items() if row.pushes)
    assert {name: engine_of(command) for name, command in COMMANDS.items()} == {name: name for name in COMMANDS}


@pytest.mark.parametrize("path", ["README.md", "docs/recovery.md", "roles/backup/meta/argument_specs.yml"])
def test_users_are_told_of_each_engine(path: str) -> None:
    text = (TOP / path).read_text()
    assert [name for name in PHYSICAL if name not in text] == []
