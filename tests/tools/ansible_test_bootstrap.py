# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Let ``ansible-test`` make its environments where it cannot download its script that installs pip.

It looks into its cache before it downloads: this puts a script there that does the same from the standard library's
ensurepip and the package index as configured. What is there already is left alone.
"""

from __future__ import annotations

import pathlib

# the versions of pip that ansible-core 2.17 to 2.19 ask for
VERSIONS = ("24.0", "24.2", "23.1.2")
SCRIPT = """\
import subprocess
import sys

subprocess.check_call([sys.executable, "-m", "ensurepip", "--upgrade"])
words = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install"] + words))
"""


def main() -> None:
    cache = pathlib.Path.home() / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in VERSIONS:
        script = cache / f"get_pip_{version.replace('.', '_')}.py"
        if not script.exists():
            script.write_text(SCRIPT, encoding="utf-8")


if __name__ == "__main__":
    main()
