# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VolumeSnapshots as objects: names, classes, binding, and when the cut is made.

The kinds: a class that nobody chose, so that the snapshot stays and is never made; an error that is left over; a content that is another
snapshot's; ids that are no name of Kubernetes.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots import objects

Object = dict[str, Any]
DEFAULT = {"snapshot.storage.kubernetes.io/is-default-class": "true"}


def klass(name: str, driver: str = "d", default: bool = False, policy: str = "Delete") -> Object:
    return {
        "metadata": {"name": name, "annotations": DEFAULT if default else {}},
        "driver": driver,
        "deletionPolicy": policy,
    }


@pytest.mark.parametrize(
    ("classes", "wanted", "found"),
    [
        ([klass("a")], None, ("a", "Delete")),
        ([klass("a"), klass("b", default=True, policy="Retain")], None, (None, "Retain")),
        ([klass("a"), klass("b", default=True)], "a", ("a", "Delete")),
        ([klass("a"), klass("b", "other", default=True)], None, ("a", "Delete")),
    ],
)
def test_the_class_that_is_meant(classes: list[Object], wanted: str | None, found: tuple[str | None, str]) -> None:
    assert objects.class_of("d", classes, wanted) == found


@pytest.mark.parametrize(
    ("classes", "wanted", "why"),
    [
        ([], None, "has none"),
        ([klass("b", "other", default=True)], None, "has none"),
        ([klass("a"), klass("b")], None, "none of which is the default"),
        ([klass("a", default=True), klass("b", default=True)], None, r"several default ones \(a, b\)"),
        ([klass("a")], "x", "is not there"),
        ([klass("a"), klass("x", "other")], "x", "is of the driver other"),
    ],
)
def test_a_class_that_nobody_chose_is_an_error(classes: list[Object], wanted: str | None, why: str) -> None:
    with pytest.raises(BadOption, match=why):
        objects.class_of("d", classes, wanted)


def test_names_are_of_one_backup_of_one_repository() -> None:
    made = {
        objects.name_of_snapshot(*each)
        for each in [
            ("1", "shop", "Before_Release.42", "data-pg-0"),
            ("2", "shop", "Before_Release.42", "data-pg-0"),
            ("1", "shop", "before-release-42", "data-pg-0"),
            ("1", "shop", "Before_Release.42", "wal-pg-0"),
            ("1", "shop", "x" * 128, "data-" + "p" * 200),
        ]
    }
    assert len(made) == 5 and all(re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name) for name in made)


def snapshot(**status: Any) -> Object:
    return {
        "kind": "VolumeSnapshot",
        "metadata": {"name": "s", "namespace": "n", "uid": "u"},
        "status": status,
    }


@pytest.mark.parametrize(
    ("status", "done"),
    [
        ({}, False),
        ({"boundVolumeSnapshotContentName": "c"}, False),
        ({"boundVolumeSnapshotContentName": "c", "creationTime": "t", "readyToUse": False}, True),
        ({"boundVolumeSnapshotContentName": "c", "creationTime": "t", "error": {"message": "no"}}, False),
        (
            {
                "boundVolumeSnapshotContentName": "c",
                "creationTime": "t",
                "readyToUse": True,
                "error": {"message": "old"},
            },
            True,
        ),
    ],
)
def test_when_the_cut_is_made(status: Object, done: bool) -> None:
    assert objects.cut(snapshot(**status)).done is done


def test_a_content_of_another_snapshot() -> None:
    mine = snapshot(boundVolumeSnapshotContentName="c")
    reference = {"namespace": "n", "name": "s", "uid": "u"}

    def content(**other: str) -> Object:
        return {"metadata": {"name": "c"}, "spec": {"volumeSnapshotRef": {**reference, **other}}}

    assert objects.check_binding(mine, content()) is None
    assert "not there" in str(objects.check_binding(mine, None))
    assert "belongs to" in str(objects.check_binding(mine, content(uid="another")))
    assert "belongs to m/s" in str(objects.check_binding(mine, content(namespace="m")))
