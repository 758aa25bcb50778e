# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Claims of snapshots, and the Job that makes a data directory ready.

The kinds: a claim that stays Pending for ever, as it is too small by what the driver says, or says not; a setting that is more than one; a
Job that is not where the volume can be.
"""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption, CatalogError
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots import restore_objects as objects

Object = dict[str, Any]


@pytest.mark.parametrize(
    ("quantity", "size"),
    [
        ("1Gi", 2**30),
        ("1G", 10**9),
        ("1.5Gi", 3 * 2**29),
        ("1073741824", 2**30),
        ("1e9", 10**9),
        ("2048Mi", 2**31),
        (None, 0),
        ("500m", 1),
    ],
)
def test_quantities(quantity: str | None, size: int) -> None:
    assert objects.bytes_of(quantity) == size


@pytest.mark.parametrize(
    ("restore_size", "capacity", "request_", "wanted", "size"),
    [
        ("1Gi", "1Gi", "1Gi", None, "1Gi"),
        ("2Gi", "1Gi", "1Gi", None, "2Gi"),  # the driver rounds up
        (None, "3Gi", "1Gi", None, "3Gi"),  # it does not say
        ("0", "3Gi", "1Gi", None, "3Gi"),
        (None, None, "1Gi", None, "1Gi"),
        ("1Gi", "5Gi", "5Gi", None, "5Gi"),  # expanded since: as the claim was
        ("1Gi", "1Gi", "1Gi", "2G", "2G"),
    ],
)
def test_how_large_a_claim_has_to_be(
    restore_size: str | None, capacity: str | None, request_: str | None, wanted: str | None, size: str
) -> None:
    claim = {"name": "data", "capacity": capacity, "request": request_}
    assert objects.size_of(claim, {"restore_size": restore_size}, wanted) == size


def test_a_claim_that_would_stay_pending_is_refused() -> None:
    claim = {"name": "data", "capacity": "1Gi", "request": "1Gi"}
    for wanted in ("1G", "0"):
        with pytest.raises(BadOption, match="Pending"):
            objects.size_of(claim, {"restore_size": "1Gi"}, wanted)
    with pytest.raises(BadOption, match="no quantity"):
        objects.size_of(claim, {"restore_size": "1Gi"}, "much")
    with pytest.raises(CatalogError, match="say size"):
        objects.size_of({"name": "data", "capacity": None, "request": None}, {"restore_size": None}, None)


def test_settings_are_one_line_each() -> None:
    assert objects.settings_text({"a": "it's", "b": "c:\\d"}) == "a = 'it''s'\nb = 'c:\\\\d'\n"
    for bad in ({"a = 1; b": 2}, {"a": "1\nb = 2"}):
        with pytest.raises(BadOption, match="settings"):
            objects.settings_text(bad)


def content(**pod: Any) -> Object:
    return {
        "claims": [{"name": "data", "node_affinity": {"required": {"nodeSelectorTerms": ["zone"]}}}],
        "data": {"directory": "/data/pg", "claim": "data"},
        "pod": {
            "run_as_user": 26,
            "run_as_group": 26,
            "fs_group": 26,
            "mounts": [
                {"path": "/data", "sub_path": "x", "claim": "data"},
                {"path": "/dumps", "sub_path": None, "claim": "dumps"},
            ],
            **pod,
        },
    }


def test_the_job_is_where_the_volume_can_be_and_has_no_more_rights_than_the_server() -> None:
    spec = objects.job("j", "n", "i", content(), {"data": "new"}, "l", "", "", True, 60)["spec"]["template"]["spec"]
    assert spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] == {
        "nodeSelectorTerms": ["zone"]
    }
    assert spec["volumes"] == [{"name": "volume-0", "persistentVolumeClaim": {"claimName": "new"}}]
    (container,) = spec["containers"]
    assert container["volumeMounts"] == [{"name": "volume-0", "mountPath": "/data", "subPath": "x"}]
    assert spec["automountServiceAccountToken"] is False and spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"
    root = objects.job("j", "n", "i", content(run_as_user=None), {"data": "new"}, "", "", "", False, 60)["spec"][
        "template"
    ]["spec"]
    # Who starts as root needs its rights on files that are another user's.
    assert "securityContext" not in root["containers"][0] and "runAsNonRoot" not in root["securityContext"]


@pytest.mark.parametrize(
    ("path", "sub_path", "expected"),
    [
        ("/var/lib/postgresql/data", None, {"new": "/var/lib/postgresql/data"}),
        ("/var/lib/postgresql/data", "data", {"new": "/var/lib/postgresql"}),
        ("/var/lib/postgresql/data/", "postgresql/data/", {"new": "/var/lib"}),
        ("/var/lib/postgresql/data", "ta", None),
    ],
)
def test_where_a_pod_has_a_claim(path: str, sub_path: str | None, expected: dict[str, str] | None) -> None:
    """A folder of a volume that is mounted, and a Job that can mount whole volumes alone."""
    mounts = [{"path": path, "sub_path": sub_path, "claim": "old"}, {"path": "/x", "sub_path": None, "claim": "other"}]
    content = {"pod": {"mounts": mounts, "run_as_user": 26, "fs_group": None}, "data": {"directory": f"{path}/pgdata"}}
    found = objects.described(content, {"old": "new"})
    assert found["claims"] == expected and (found["run_as_user"], found["fs_group"]) == (26, None)
