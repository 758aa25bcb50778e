# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of a run, whatever it does."""

from __future__ import annotations


class ModuleDocFragment:
    LOCK = r"""
options:
  lock_wait:
    description: Seconds to wait for another run on the same backups.
    type: int
    default: 0
"""

    PROGRESS = r"""
options:
  progress_file:
    description: File in which the run says how far it is, and for whom it waits. The action plugin of this module sets it.
    type: path
"""
