# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL-G: its settings from our options (options), its commands for PostgreSQL (commands), its listing as records (listing),
running it (program), its WAL (archive), and all of it as a RepositoryEngine (engine).

Source of what it does and says: https://wal-g.readthedocs.io/PostgreSQL/ and the program's own code.
"""
