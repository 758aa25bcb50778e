# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The layers as docs/architecture.md draws them, read from the imports: no arrow up, no circle, no engine that knows another."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "plugins"
PACKAGE = "ansible_collections.holdfast.postgres.plugins."

#: From the top down. A folder may import what stands on its own line or below it; files beside the folders are on the line of their name.
LAYERS = (
    ("modules", "action", "callback", "lookup", "filter"),
    ("plugin_utils",),
    ("module", "argspec", "interpreter"),
    (
        "backup",
        "archiving",
        "recovery",
        "standby",
        "restore",
        "status",
        "snapshots",
        "capture",
        "drill",
        "kubernetes_recovery",
        "kubernetes_clone",
        "kubernetes_replica",
        "cloudnative_pg",
        "verify",
    ),
    ("checks", "engines"),
    ("pipeline", "server", "catalog", "repositories", "kubernetes"),
    ("wal", "retention"),
    (
        "errors",
        "consent",
        "cron",
        "stopping",
        "times",
        "durations",
        "units",
        "progress",
        "background",
        "guard",
        "files",
        "users",
        "waiting",
        "workspace",
        "engine_table",
    ),
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
PURE = ("wal", "retention")
#: What a pure file has no use for.
OUTSIDE = {"subprocess", "socket", "shutil", "tempfile", "psycopg2", "boto3", "os", "time", "ansible"}


def files() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py") if path.parts[len(ROOT.parts)] != "doc_fragments")


def room(path: Path) -> str:
    """The folder, or the file beside the folders, that a file belongs to."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "module_utils" and len(parts) > 1 else parts[0]


@cache
def imported(path: Path) -> tuple[str, ...]:
    """The dotted names that a file imports, wherever the import stands."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += (f"{node.module}.{alias.name}" for alias in node.names)
    return tuple(names)


def ours(path: Path) -> Iterator[tuple[str, ...]]:
    """The parts of each name of ours that a file imports, below plugins/."""
    for name in imported(path):
        if name.startswith(PACKAGE):
            parts = tuple(name[len(PACKAGE) :].split("."))
            yield parts[1:] if parts[0] == "module_utils" else parts


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", files(), ids=name_of)
def test_no_arrow_points_up(path: Path) -> None:
    mine = room(path)
    assert mine in RANK, f"{mine} stands in no layer: say in LAYERS and in docs/architecture.md where it belongs"
    up = sorted({parts[0] for parts in ours(path) if RANK.get(parts[0], 0) < RANK[mine]})
    assert not up, f"{name_of(path)} imports from above: {', '.join(up)}"


def test_no_circle() -> None:
    edges: dict[str, set[str]] = {}
    for path in files():
        edges.setdefault(room(path), set()).update(parts[0] for parts in ours(path) if parts[0] != room(path))
    done: set[str] = set()

    def walk(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"a circle of imports: {' → '.join((*way[way.index(name) :], name))}"
        if name not in done:
            for other in sorted(edges.get(name, ())):
                walk(other, (*way, name))
            done.add(name)

    for name in sorted(edges):
        walk(name, ())


def test_an_engine_never_imports_another_one() -> None:
    engines = {path.name for path in (ROOT / "module_utils" / "engines").iterdir() if path.is_dir()}
    for path in (ROOT / "module_utils" / "engines").rglob("*/*.py"):
        others = {parts[1] for parts in ours(path) if parts[0] == "engines"} & engines - {path.parent.name}
        assert not others, f"{name_of(path)} imports {', '.join(sorted(others))}"


def test_a_store_never_imports_another_one_nor_what_is_stored() -> None:
    stores = {path.name for path in (ROOT / "module_utils" / "repositories").iterdir() if path.is_dir()}
    for path in (ROOT / "module_utils" / "repositories").rglob("*.py"):
        names = list(ours(path))
        assert not [parts for parts in names if parts[0] in ("catalog", "server", "pipeline")], name_of(path)
        if path.parent.name in stores:
            others = {parts[1] for parts in names if parts[0] == "repositories"} & stores - {path.parent.name}
            assert not others, f"{name_of(path)} imports {', '.join(sorted(others))}"


def test_the_room_of_kubernetes_stands_on_the_ground_alone() -> None:
    """What needs no cluster never gets its libraries; what works in a cluster is handed what it needs of servers and repositories."""
    ground = {*LAYERS[-1], "kubernetes"}
    for path in (ROOT / "module_utils" / "kubernetes").rglob("*.py"):
        others = {parts[0] for parts in ours(path)} - ground
        assert not others, f"{name_of(path)} imports {', '.join(sorted(others))}"
    for path in files():
        if room(path) not in (
            "modules",
            "action",
            "status",
            "snapshots",
            "capture",
            "kubernetes_recovery",
            "kubernetes_clone",
            "kubernetes_replica",
            "cloudnative_pg",
            "kubernetes",
        ):
            assert not [parts for parts in ours(path) if parts[0] == "kubernetes"], name_of(path)


@pytest.mark.parametrize("path", [path for path in files() if room(path) in PURE], ids=name_of)
def test_the_pure_rooms_do_no_io(path: Path) -> None:
    outside = {name.split(".")[0] for name in imported(path)} & OUTSIDE
    assert not outside, f"{name_of(path)} imports {', '.join(sorted(outside))}"
