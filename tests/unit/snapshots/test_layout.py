# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which consistency is right for which layout.

The kind: a snapshot that its API calls ready, that PostgreSQL starts from, and that is corrupt (CloudNativePG #11383). The members: several
claims that are snapshotted one after the other, a driver that copies files, backup mode without an archive, a server that runs where one
believed it to be stopped.
"""

from __future__ import annotations

import pytest
from ansible_collections.holdfast.postgres.plugins.module_utils.errors import BadOption
from ansible_collections.holdfast.postgres.plugins.module_utils.snapshots.layout import Layout, choose, is_atomic

ONE, TWO = ("data-pg-0",), ("data-pg-0", "wal-pg-0")


@pytest.mark.parametrize(
    ("claims", "atomic", "running", "archives", "wanted", "chosen"),
    [
        (ONE, True, True, None, None, "checkpoint"),
        (ONE, True, True, False, None, "checkpoint"),
        (ONE, True, True, None, "none", "none"),
        (ONE, True, True, None, "checkpoint", "checkpoint"),
        (ONE, True, True, True, "backup_mode", "backup_mode"),
        (ONE, True, False, None, None, "stopped"),
        (ONE, True, False, None, "none", "none"),
        (ONE, False, True, True, None, "backup_mode"),
        (TWO, True, True, True, None, "backup_mode"),
        (TWO, False, True, True, "backup_mode", "backup_mode"),
        (TWO, True, False, None, None, "stopped"),
        (TWO, False, False, None, "stopped", "stopped"),
    ],
)
def test_what_is_right(
    claims: tuple[str, ...], atomic: bool, running: bool, archives: bool | None, wanted: str | None, chosen: str
) -> None:
    assert choose(Layout(claims, atomic, running, archives), wanted) == chosen


@pytest.mark.parametrize(
    ("claims", "atomic", "running", "archives", "wanted", "why"),
    [
        (TWO, True, True, True, "checkpoint", "each snapshot is of a moment of its own"),
        (TWO, True, True, True, "none", "each snapshot is of a moment of its own"),
        (ONE, False, True, True, "checkpoint", "copies files"),
        (ONE, False, True, True, "none", "copies files"),
        (ONE, False, True, False, None, "archives none"),
        (TWO, True, True, False, None, "archives none"),
        (ONE, True, True, False, "backup_mode", "archives none"),
        (ONE, True, True, None, "stopped", "a pod does"),
        (ONE, True, False, None, "checkpoint", "no pod of it runs"),
        (TWO, True, False, True, "backup_mode", "no pod of it runs"),
    ],
)
def test_what_is_wrong_is_refused_with_the_reason(
    claims: tuple[str, ...], atomic: bool, running: bool, archives: bool | None, wanted: str | None, why: str
) -> None:
    with pytest.raises(BadOption, match=why):
        choose(Layout(claims, atomic, running, archives), wanted)


def test_drivers_that_are_known_to_copy() -> None:
    assert not is_atomic("hostpath.csi.k8s.io", None) and is_atomic("hostpath.csi.k8s.io", True)
    assert is_atomic("ebs.csi.aws.com", None) and not is_atomic("ebs.csi.aws.com", False)
