# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Sourced by the scripts that make layers with Python in them.

# ROOT DIRECTORY...: before anybody runs it, as the root of a Job is read-only; by hash, as a layer's files have no times.
compile_python() {
    local root=$1
    shift
    env -u PYTHONDONTWRITEBYTECODE /usr/bin/python3 -m compileall -q --invalidation-mode unchecked-hash -s "$root" -p / "$@" >/dev/null || true
}
