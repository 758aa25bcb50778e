# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each option of a store is said once: what modules take, what is documented, and what engines translate are compared with it.

The kind: an option that a program is not told of, and that nobody misses until the day when it counts (a lock, a class, a CA).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.holdfast.postgres.plugins.doc_fragments import repository as fragment
from ansible_collections.holdfast.postgres.plugins.module_utils.engine_table import WITH_REPOSITORY
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.barman_cloud import options as barman_cloud
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.pgbackrest import stores as pgbackrest
from ansible_collections.holdfast.postgres.plugins.module_utils.engines.wal_g import options as wal_g
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.libraries import OF_STORE
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.open import OBJECT_STORES, check_store
from ansible_collections.holdfast.postgres.plugins.module_utils.repositories.options import (
    STORE,
    STORES,
    refuse_untaken,
)

DOCUMENTED: Mapping[str, Mapping[str, Any]] = yaml.safe_load(fragment.STORE)
ENGINES: Mapping[str, Mapping[str, set[str]]] = {
    "pgbackrest": pgbackrest.TAKEN,
    "barman_cloud": barman_cloud.TAKEN,
    "wal_g": wal_g.TAKEN,
}
#: types that an engine refuses by name, each with a test of its own
REFUSED: Mapping[str, set[str]] = {"barman_cloud": {"file"}}


def test_what_is_documented_is_what_modules_take() -> None:
    assert sorted(DOCUMENTED) == sorted(STORE)
    for name, spec in STORE.items():
        said = {key: value for key, value in DOCUMENTED[name].items() if key != "description"}
        assert said == {key: value for key, value in spec.items() if key != "no_log"}, name


@pytest.mark.parametrize("kind", STORES)
def test_stores_mean_the_same_by_one_name(kind: str) -> None:
    assert all(STORE[name] == spec for name, spec in STORES[kind].spec.items())
    assert set(STORES[kind].required) <= set(STORES[kind].spec) >= set(STORES[kind].credentials)


def test_each_store_has_its_row_wherever_there_is_one_a_store() -> None:
    wanted = sorted(set(STORES) - {"file"})
    setup = yaml.safe_load((Path(__file__).parents[3] / "roles/setup/vars/main.yml").read_text(encoding="utf-8"))
    assert sorted(OBJECT_STORES) == wanted
    assert sorted(OF_STORE) == wanted
    assert sorted(setup["holdfast_setup_python_of_stores"]) == wanted


@pytest.mark.parametrize("kind", STORES)
def test_the_documentation_names_the_stores_of_an_option(kind: str) -> None:
    for name, store in DOCUMENTED.items():
        text = " ".join([store["description"]] if isinstance(store["description"], str) else store["description"])
        others = [other for other in STORES if f"V({other})" in text]
        if others and name != "type":
            assert (name in STORES[kind].spec) == (kind in others), name


def test_secrets_are_hidden() -> None:
    """By their names; what only leads to a secret (a path, a public part) says so itself."""
    for name, spec in STORE.items():
        if any(word in name for word in ("key", "token", "secret", "password", "connection_string")):
            assert "no_log" in spec or name == "sse_kms_key_id", name


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_takes_no_option_that_a_store_lacks(engine: str) -> None:
    for kind, taken in ENGINES[engine].items():
        assert taken <= set(STORES[kind].spec) | {"tags"}, kind


def test_every_engine_with_a_repository_knows_each_store_or_refuses_it() -> None:
    assert sorted(ENGINES) == sorted(WITH_REPOSITORY)
    for engine, taken in ENGINES.items():
        assert set(taken) | REFUSED.get(engine, set()) == set(STORES), engine


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", STORES)
def test_an_engine_refuses_what_it_does_not_take(engine: str, kind: str) -> None:
    for name in set(STORES[kind].spec) - ENGINES[engine].get(kind, set()):
        spec = STORE[name]
        value: object = {"bool": not spec.get("default"), "int": 7, "dict": {"a": "b"}}.get(spec["type"], "x")
        with pytest.raises(BadOption, match=name):
            refuse_untaken({"type": kind, name: value}, ENGINES[engine].get(kind, set()), engine)


@pytest.mark.parametrize("name", ["sse_customer_key", "account_key"])
def test_a_secret_of_another_store_is_not_shown(name: str) -> None:
    options = {
        **{key: spec.get("default") for key, spec in STORE.items()},
        "type": "gcs",
        "bucket": "b",
        name: "geheim",
    }
    with pytest.raises(BadOption, match="does not go with type gcs") as caught:
        check_store(options)
    assert "geheim" not in str(caught.value)
