# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real servers, hard data and an independent comparison, for the demo, the benchmarks and the integration tests.

Import it as ``lab`` with the ``tests`` directory on ``sys.path``. It imports nothing of the collection: what judges
the collection must not share its mistakes.
"""
