# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report as a file, out of what backup_report found on each host (module_utils/status/report.py). Made on the controller, as its Ansible has
Jinja2, so that hosts need nothing more. Pure, but for ``written``."""
