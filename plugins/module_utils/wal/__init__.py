# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL: positions, segment names, timelines, what an archive holds, and what a recovery needs of it. Pure: no clock, no I/O."""
