# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sessions of antsibull-nox, as antsibull-nox.toml has them. What the project itself runs is in the Makefile."""

import sys

try:
    import antsibull_nox
except ImportError:
    sys.exit("Install antsibull-nox, of which this file has its sessions: python -m pip install antsibull-nox")

antsibull_nox.load_antsibull_nox_toml()
