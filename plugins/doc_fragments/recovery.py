# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a recovery ends."""

from __future__ import annotations

_TARGET = r"""
options:
  recovery_target:
    description: How far the server recovers. By default as far as the archive reaches.
    type: dict
    suboptions:
      time:
        description: To this moment, with an offset, such as V(2026-11-21T02:59:00+01:00).
        type: str
      lsn:
        description: To this position of the write-ahead log.
        type: str
      xid:
        description: To this transaction.
        type: str
      name:
        description: To this restore point (M(holdfast.postgres.pg_restore_point)).
        type: str
      immediate:
        description: Only to the end of the backup itself.
        type: bool
      latest:
        description: As far as the archive reaches.
        type: bool
      inclusive:
        description: Whether with the transaction at the target. By default it is.
        type: bool
      timeline:
        description: The timeline to follow, as a number, V(latest) or V(current). By default V(latest).
        type: str
"""


# Annotated, as ansible-test's yamllint cannot read what is put together, and looks at plain assignments alone.
class ModuleDocFragment:
    #: where the server is promoted there
    TARGET: str = _TARGET
    #: where it is said what it does there
    TARGET_AND_ACTION: str = (
        _TARGET
        + r"""
      action:
        description: What the server does at the target.
        type: str
        choices: [promote, pause, shutdown]
        default: promote
"""
    )
