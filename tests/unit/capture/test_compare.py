# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs from what was captured, by fields, and the patch that mends it. A newer cluster's defaults are no difference."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.capture.compare import differences, patch, shown

Object = dict[str, Any]


def of(kind: str, metadata: Object | None = None, **rest: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": "pg", "namespace": "shop", **(metadata or {})},
        **rest,
    }


def live(manifest: Object, owned: Object | None = None) -> Object:
    added = {"uid": "1", "resourceVersion": "7", "managedFields": [{"manager": "kubectl", "fieldsV1": owned or {}}]}
    return {**manifest, "metadata": {**manifest["metadata"], **added}, "status": {}}


def merged(into: Any, body: Object) -> Any:
    """RFC 7386."""
    result = dict(into) if isinstance(into, dict) else {}
    for name, value in body.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value) if isinstance(value, dict) else value
    return result


CASES = [
    (of("ConfigMap", data={"a": "1"}), of("ConfigMap", data={"a": "1"}), {}, []),
    (of("ConfigMap", data={"a": "2"}), of("ConfigMap", data={"a": "1"}), {}, ["data.a"]),
    (of("ConfigMap", data={"a": "1", "b": "2"}), of("ConfigMap", data={"a": "1"}), {}, ["data.b"]),
    (of("ConfigMap"), of("ConfigMap", data={"a": "1"}), {}, ["data"]),
    # labels that others add, and those that are missing
    (of("ConfigMap", {"labels": {"a": "1", "x": "y"}}), of("ConfigMap", {"labels": {"a": "1"}}), {}, []),
    (of("ConfigMap"), of("ConfigMap", {"labels": {"a": "1"}}), {}, ["metadata.labels"]),
    # a default of a newer API, and the same field set by somebody
    (of("StatefulSet", spec={"a": 1, "newer": "X"}), of("StatefulSet", spec={"a": 1}), {}, []),
    (
        of("StatefulSet", spec={"a": 1, "newer": "X"}),
        of("StatefulSet", spec={"a": 1}),
        {"f:spec": {"f:newer": {}}},
        ["spec.newer"],
    ),
    (of("StatefulSet", spec={"l": [{"n": 1, "d": 2}]}), of("StatefulSet", spec={"l": [{"n": 1}]}), {}, []),
    (of("StatefulSet", spec={"l": [{"n": 1}, {"n": 2}]}), of("StatefulSet", spec={"l": [{"n": 1}]}), {}, ["spec.l"]),
    (of("StatefulSet", spec={"l": [{"n": 2}]}), of("StatefulSet", spec={"l": [{"n": 1}]}), {}, ["spec.l.n"]),
    (
        of("Service", spec={"selector": {"a": "b", "c": "d"}}),
        of("Service", spec={"selector": {"a": "b"}}),
        {},
        ["spec.selector.c"],
    ),
    (of("Service", spec={"ports": []}), of("Service", spec={}), {}, []),
    (of("Secret", data={"a": "eA=="}, type="Opaque"), of("Secret", data={"a": "eQ=="}, type="Opaque"), {}, ["data.a"]),
    (of("Role", rules=[{"verbs": ["get", "list"]}]), of("Role", rules=[{"verbs": ["get"]}]), {}, ["rules.verbs"]),
]


@pytest.mark.parametrize(("there", "wanted", "owned", "fields"), CASES)
def test_differences_and_the_patch_that_ends_them(
    there: Object, wanted: Object, owned: Object, fields: list[str]
) -> None:
    found = live(there, owned)
    before = copy.deepcopy(found)
    assert differences(found, wanted) == fields
    body = patch(found, wanted)
    assert body["metadata"]["resourceVersion"] == "7"
    if not fields:
        assert body == {"metadata": {"resourceVersion": "7"}}
    assert differences(merged(found, body), wanted) == []
    assert found == before


def test_another_namespace_is_no_difference() -> None:
    assert differences(live(of("ConfigMap")), of("ConfigMap", {"namespace": "again"})) == []


def test_no_value_of_a_secret_is_shown() -> None:
    assert "c2VjcmV0" not in str(shown(of("Secret", data={"password": "c2VjcmV0"})))
