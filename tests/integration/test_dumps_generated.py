# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dumps made by chance: restored and the same, or refused and nothing touched (``generators.dumps``).

HOLDFAST_SEEDS says how many new ones each run tries, from a beginning that changes by the day; the common suite tries a few.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest
from generators import dumps
from lab.servers import Server

# Seeds that broke something once, or that are of a kind that did.
KEPT = (1381, 5014, 8, 11)
SLOW = (1412,)  # pg_restore goes round for ever at the end of a tar archive that was cut


@pytest.fixture(scope="module")
def server(server_factory: Callable[..., Server]) -> Server:
    return server_factory(15)


@pytest.mark.parametrize("seed", [*KEPT, *(pytest.param(seed, marks=pytest.mark.extended) for seed in SLOW)])
def test_seeds_that_broke(server: Server, seed: int) -> None:
    dumps.run(seed, server)


def test_a_few_new_ones(server: Server) -> None:
    first = int(time.time() // 86400) * 1000
    for seed in range(first, first + int(os.environ.get("HOLDFAST_SEEDS", "3"))):
        dumps.run(seed, server)


@pytest.mark.extended
def test_many_new_ones(server: Server) -> None:
    first = int(time.time() // 86400) * 1000 + 500
    for seed in range(first, first + int(os.environ.get("HOLDFAST_SEEDS", "60"))):
        dumps.run(seed, server)
