# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kind: a clone that gets the clients of the server that it comes from, or the other way round, since a label selects both.

Members: the instance's label in each selector; a Service by what it is alone; by the pod's name; a budget by expressions; one that nothing escapes; two
charts' labels; labels of nodes, and data that only looks like a label.
"""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes.discover import selects
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_clone.apart import judge
from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_clone.labels import (
    POD_NAME,
    Selector,
    new_labels,
    of_pod,
    relabelled,
)

NAME, INSTANCE = "app.kubernetes.io/name", "app.kubernetes.io/instance"
CHART = {NAME: "postgresql", INSTANCE: "shop", "tier": "db"}


def by(**labels: str) -> dict[str, Any]:
    return {"matchLabels": labels}


@pytest.mark.parametrize(
    "labels, selectors, changed",
    [
        ({"app": "pg"}, [by(app="pg")], {"app": "again"}),
        (CHART, [{"matchLabels": {NAME: "postgresql", INSTANCE: "shop"}}], {INSTANCE: "again"}),
        (
            CHART,
            [{"matchLabels": {NAME: "postgresql", INSTANCE: "shop"}}, by(tier="db")],
            {INSTANCE: "again", "tier": "db-again"},
        ),
        ({"app": "shop-db"}, [by(app="shop-db")], {"app": "shop-db-again"}),
        ({"app": "pg", "x": "y"}, [{"matchLabels": {POD_NAME: "pg-0"}}], {"app": "again"}),
        ({"app": "pg", "x": "y"}, [{"matchExpressions": [{"key": "x", "operator": "In", "values": ["y", "z"]}]}], {"app": "again", "x": "y-again"}),
        ({"app": "db"}, [], {}),
    ],
)  # fmt: skip
def test_as_few_as_it_takes(labels: dict[str, str], selectors: list[Any], changed: dict[str, str]) -> None:
    named = [Selector("Service x", one) for one in selectors]
    assert new_labels(labels, named, "pg", "again") == changed
    assert not any(selects(one, of_pod({**labels, **changed}, "again", 0)) for one in selectors)


@pytest.mark.parametrize("selector", [{}, {"matchExpressions": [{"key": "app", "operator": "Exists"}]}])
def test_what_nothing_escapes_is_refused(selector: dict[str, Any]) -> None:
    with pytest.raises(BadOption, match="PodDisruptionBudget all"):
        new_labels({"app": "pg"}, [Selector("PodDisruptionBudget all", selector)], "pg", "again")


def test_whatever_labels_or_selects_the_pods_follows() -> None:
    term = {"labelSelector": {"matchLabels": {"app": "pg"}}, "topologyKey": "kubernetes.io/hostname"}
    labelled = {
        "labelSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["pg", "web"]}]},
        "topologyKey": "x",
    }
    node = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "app", "operator": "In", "values": ["pg"]}]}]}
    pod = {
        "nodeSelector": {"app": "pg"},
        "affinity": {
            "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term, labelled]},
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": node},
        },
        "topologySpreadConstraints": [term],
    }
    made = relabelled(
        {
            "kind": "StatefulSet",
            "metadata": {"labels": {"app": "pg"}},
            "spec": {
                "selector": {"matchLabels": {"app": "pg"}},
                "template": {"metadata": {"labels": {"app": "pg", "x": "pg"}}, "spec": pod},
            },
        },
        {"app": "pg", "x": "pg"},
        {"app": "again"},
        {},
    )
    spec = made["spec"]
    assert made["metadata"]["labels"] == spec["selector"]["matchLabels"] == {"app": "again"}
    assert spec["template"]["metadata"]["labels"] == {"app": "again", "x": "pg"}
    new = spec["template"]["spec"]
    first, second = new["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert first["labelSelector"]["matchLabels"] == {"app": "again"}
    assert second["labelSelector"]["matchExpressions"][0]["values"] == ["again", "web"]
    assert new["topologySpreadConstraints"][0] == first
    assert new["nodeSelector"] == {"app": "pg"}
    assert new["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] == node


def test_a_service_and_what_only_looks_like_a_label() -> None:
    labels, changed, pods = {"app": "pg"}, {"app": "again"}, {"pg-0": "again-0"}
    service = {"kind": "Service", "metadata": {}, "spec": {"selector": {"app": "pg", POD_NAME: "pg-0"}}}
    assert relabelled(service, labels, changed, pods)["spec"]["selector"] == {"app": "again", POD_NAME: "again-0"}
    kept = {"kind": "ConfigMap", "metadata": {"labels": {"app": "web"}}, "data": {"app": "pg", "labels": "x"}}
    assert relabelled(kept, labels, changed, pods) == kept


def test_the_cluster_is_asked_who_leads_where() -> None:
    def pod(name: str, **labels: str) -> dict[str, Any]:
        return {"metadata": {"name": name, "labels": labels}}

    def service(name: str, **selector: str) -> dict[str, Any]:
        return {"metadata": {"name": name}, "spec": {"selector": selector}}

    clone = {
        "metadata": {"name": "again-0", "labels": {"app": "again", "tier": "db", "holdfast.postgres/clone": "again"}}
    }
    pods = [pod("pg-0", app="pg", tier="db"), clone]
    good = judge([service("pg", app="pg"), service("again", app="again"), service("none")], pods, "again")
    assert not good.missing and "1 lead to the clone alone" in good.proven[0]
    bad = judge([service("db", tier="db")], pods, "again")
    assert bad.missing == ["The Service db leads to the clone and to pg-0 as well."]
    own = service("own", app="pg")
    own["metadata"]["labels"] = {"holdfast.postgres/clone": "again"}
    assert judge([own], pods, "again").missing == ["The clone's own Service own leads to pg-0."]
