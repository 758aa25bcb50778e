# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a message names what the user does not have. Members: everything that Ansible says of a module's arguments, made by Ansible itself, of
options and of suboptions."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.holdfast.postgres.plugins.plugin_utils.ansible_messages import in_role_words, of_a_role
from ansible_collections.holdfast.postgres.plugins.plugin_utils.variables import option_names

SPEC: dict[str, Any] = {
    "data_directory": {"type": "path"},
    "primary_host": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "verified"], "default": "present"},
    "jobs": {"type": "int"},
    "confirm": {"type": "list", "elements": "int"},
    "sections": {"type": "list", "elements": "str", "choices": ["data", "post-data"]},
    "repository": {
        "type": "dict",
        "options": {"bucket": {"type": "str"}, "type": {"type": "str", "choices": ["s3", "file"]}},
    },
    "source": {"type": "path"},
}


def with_required(*names: str) -> dict[str, Any]:
    return {name: {**option, "required": name in names} for name, option in SPEC.items()}


WITHIN = {
    **SPEC,
    "repository": {"type": "dict", "options": {"bucket": {"type": "str", "required": True}, "prefix": {"type": "str"}}},
}


@pytest.mark.parametrize(
    ("role", "spec", "rules", "values", "read"),
    [
        ("recover", with_required("data_directory"), {}, {}, "Set holdfast_data_directory."),
        (
            "standby", with_required("data_directory", "primary_host"), {}, {},
            "Set holdfast_data_directory and holdfast_primary_host.",
        ),
        (
            "standby", SPEC, {"required_if": [("state", "present", ("data_directory", "primary_host"))]}, {},
            "Where holdfast_standby_state is present, set holdfast_data_directory and holdfast_primary_host.",
        ),
        (
            "restore", SPEC, {"required_one_of": [("repository", "source")]}, {},
            "Set holdfast_repository or holdfast_restore_source.",
        ),
        (
            "restore", SPEC, {"mutually_exclusive": [("repository", "source")]}, {"repository": {}, "source": "/x"},
            "holdfast_repository and holdfast_restore_source do not go together: set one of them.",
        ),
        (
            "restore", SPEC, {"required_together": [("source", "jobs")]}, {"jobs": 1},
            "Set holdfast_restore_source and holdfast_restore_jobs, or none of them.",
        ),
        (
            "restore", SPEC, {"required_by": {"source": ["jobs"]}}, {"source": "/x"},
            "With holdfast_restore_source, set holdfast_restore_jobs.",
        ),
        ("archive", SPEC, {}, {"state": "there"}, "holdfast_archive_state is there, and takes present, verified."),
        (
            "restore", SPEC, {}, {"sections": ["data", "x"]},
            "holdfast_restore_sections has x, and takes data, post-data.",
        ),
        ("restore", SPEC, {}, {"jobs": "many"}, "holdfast_restore_jobs takes a whole number."),
        ("backup", SPEC, {}, {"repository": {"type": "ftp"}}, "holdfast_repository.type is ftp, and takes s3, file."),
        ("backup", WITHIN, {}, {"repository": {}}, "Set holdfast_repository.bucket."),
        (
            "backup", WITHIN, {}, {"repository": {"bucket": "b", "prefx": "p"}},
            "There is no holdfast_repository.prefx. It takes bucket, prefix.",
        ),
        ("backup", {"unheard_of": {"required": True}}, {}, {}, "Set unheard_of."),
    ],
)  # fmt: skip
def test_what_ansible_says(
    role: str, spec: dict[str, Any], rules: dict[str, Any], values: dict[str, Any], read: str
) -> None:
    result = ArgumentSpecValidator(spec, **rules).validate(values)
    assert of_a_role(result.errors[0].msg, role, option_names()) == read


@pytest.mark.parametrize(
    ("message", "read"),
    [
        ("databases: [] does not say which", "holdfast_restore_databases: [] does not say which"),
        ("repository.bucket: 'x' is no name", "holdfast_repository.bucket: 'x' is no name"),
        ("It failed, databases: a", "It failed, databases: a"),  # of which nobody knows that it is one
        ("Set force: true.", "Set holdfast_restore_force: true."),
        ("missing required arguments: databases", "Set holdfast_restore_databases."),
        ("Cannot connect: refused", "Cannot connect: refused"),
    ],
)
def test_what_our_modules_say(message: str, read: str) -> None:
    assert in_role_words(message, "restore", ["force"], option_names()) == read


def test_what_somebody_else_says_stays() -> None:
    for message in ("data_directory: '/a' is not empty.", "The file found in repository is damaged.", ""):
        assert of_a_role(message, "recover", option_names()) == message
