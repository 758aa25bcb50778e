# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers of the integration tests, and Ceph's gateway: the tests of `make test-stores`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.stores import CephServer


@pytest.fixture(scope="session")
def ceph() -> Iterator[CephServer]:
    reason = CephServer.missing()
    if reason:
        pytest.skip(f"Ceph: {reason}")
    with CephServer(tls=True) as server:
        yield server
