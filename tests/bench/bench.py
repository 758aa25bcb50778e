# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ours and the guides' pipelines, side by side in one run. `make bench` runs it; with --write it renews docs/benchmarks.md."""

from __future__ import annotations

import argparse
import datetime
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(CHECKOUT / "tests"), str(CHECKOUT / ".work/collections")]

from lab.installations import Installation, find_installations  # noqa: E402
from lab.servers import Server, pick  # noqa: E402

from bench import artifact, directory, many, pgbench, physical, pipelines, runs, shipping  # noqa: E402
from bench.common import Bench, Size  # noqa: E402
from bench.place import Place  # noqa: E402

FULL = Size(database=1500, artifact=2048, backups=10_000, objects=5_000, rounds=3)
SMALL = Size(database=60, artifact=128, backups=300, objects=200, rounds=1)

Part = Callable[[Bench, Place, Size], str]
STORE_PARTS: dict[str, tuple[str, Part]] = {
    "pipelines": ("Backups into an object store", pipelines.measure),
    "shipping": ("WAL shipped", shipping.measure),
    "pgbench": ("WAL shipped under load", pgbench.measure),
    "artifact": ("One large artifact in an object store", artifact.measure),
    "listing": ("A catalogue of thousands", many.listing),
    "copying": ("Thousands of objects copied", many.copying),
}
KUBERNETES = "Kubernetes"
PAGE = CHECKOUT / "docs" / "benchmarks.md"
HEAD = "# Benchmarks\n\nOurs and the guides' pipelines, taking turns in one run: `make bench`.\n"


@contextmanager
def ready(installation: Installation) -> Iterator[Bench]:
    """An empty server and a directory."""
    settings = {"shared_buffers": "512MB", "max_wal_size": "4GB", "maintenance_work_mem": "256MB"}
    with (
        Server(installation, settings=settings) as server,
        tempfile.TemporaryDirectory(prefix="holdfast-bench-") as place,
    ):
        yield Bench(server, Path(place))


def sections(chosen: Sequence[str], size: Size) -> Iterator[tuple[str, str]]:
    """The title and text of each part that is asked for."""
    if "kubernetes" in chosen:
        load, told = os.getloadavg()[0], shlex.join(sys.argv[1:])
        made = (
            f"{os.cpu_count()} cores, {size.rounds} rounds, {datetime.date.today()}, load before {load:.1f}. Made by\n\n"
            f"```text\n.venv/bin/python tests/bench/bench.py {told}\n```\n"
        )
        yield KUBERNETES, f"{made}\n{runs.measure(size)}"
        if list(chosen) == ["kubernetes"]:
            return
    installation = next((item for item in find_installations() if item.source != "pypi"), None) or pick()
    with ready(installation) as bench:

        def about(where: str) -> str:
            load = os.getloadavg()[0]
            return (
                f"PostgreSQL {installation.version}{where}, database of {size.database} MB, {os.cpu_count()} cores, "
                f"{size.rounds} rounds, {datetime.date.today()}, load before {load:.1f}. Made by\n\n"
                f"```text\n.venv/bin/python tests/bench/bench.py {shlex.join(sys.argv[1:])}".rstrip()
                + "\n```\n"
            )

        if "directory" in chosen:
            words = about("")
            yield "Backups into a directory", f"{words}\n{directory.measure(bench, size)}"
            bench.clear()
        if "physical" in chosen:
            with Place(tls=True) as place:
                words = about(f", S3 by {place.name} on the same machine")
                yield "Whole servers", f"{words}\n{physical.measure(bench, place, size)}"
        for name, (title, part) in STORE_PARTS.items():
            if name in chosen:
                # Each has a store of its own: what an earlier one left slows none down.
                with Place() as place:
                    words = about(f", S3 by {place.name} on the same machine")
                    yield title, f"{words}\n{part(bench, place, size)}"


def write(title: str, text: str) -> None:
    """Put a section into the page, in the place of the one with that title."""
    _head, *old = PAGE.read_text(encoding="utf-8").split("\n## ") if PAGE.exists() else [""]
    found = {section.partition("\n")[0]: section.partition("\n")[2].strip("\n") for section in old}
    found[title] = text.strip("\n")
    titles = [
        "Backups into a directory",
        "Whole servers",
        *(known for known, _part in STORE_PARTS.values()),
        KUBERNETES,
    ]
    body = "".join(f"\n## {known}\n\n{found[known]}\n" for known in titles if known in found)
    PAGE.write_text(HEAD + body, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    names = ["directory", "physical", "stores", "kubernetes", *STORE_PARTS]
    parser.add_argument(
        "--only", nargs="+", choices=names, default=["directory", "physical", "stores"], help="parts to run"
    )
    parser.add_argument("--small", action="store_true", help="little data and one round, to try it")
    parser.add_argument("--size-mb", type=int, help=f"size of the database, by default {FULL.database}")
    parser.add_argument("--rounds", type=int, help=f"by default {FULL.rounds}")
    parser.add_argument("--write", action="store_true", help="write the sections into docs/benchmarks.md")
    options = parser.parse_args()
    usual = SMALL if options.small else FULL
    size = Size(
        options.size_mb or usual.database, usual.artifact, usual.backups, usual.objects, options.rounds or usual.rounds
    )
    chosen = [part for name in options.only for part in (STORE_PARTS if name == "stores" else [name])]
    for title, text in sections(chosen, size):
        print(f"\n## {title}\n\n{text}", flush=True)
        if options.write:
            write(title, text)


if __name__ == "__main__":
    main()
