#!/usr/bin/env bash
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The layer with ansible-core, the stores' libraries, barman-cloud and kubernetes.core, for Debian's own Python.
# shellcheck source-path=SCRIPTDIR
. "$HERE/common.sh"
. "$HERE/compile_python.sh"
root="$WORK/root"
packages="$root/usr/local/lib/python$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')/dist-packages"
collections="$root/usr/share/ansible/collections/ansible_collections"
mkdir -p "$packages" "$collections" "$root/usr/local/bin"
/usr/bin/python3 -m venv "$WORK/venv"
pip() { "$WORK/venv/bin/pip" --quiet --disable-pip-version-check "$@"; }
pip install --no-compile --target "$packages" --requirement "$HERE/python.txt"
# Its dependencies are Debian's. 3.20 wants a newer Python than Debian 12 has.
pip install --no-compile --no-deps --target "$WORK/barman" 'barman>=3.12,<3.20'
cp -r "$WORK/barman"/barman* "$packages/"
for program in "$packages"/bin/ansible* "$WORK"/barman/bin/barman-cloud-*; do
    sed '1s|.*|#!/usr/bin/python3|' "$program" >"$root/usr/local/bin/$(basename "$program")"
done
chmod 0755 "$root"/usr/local/bin/*
rm -rf "$packages/bin"
# What no Job needs: the libraries' own tests.
find "$packages" -depth -type d -name tests -path '*/tests' -exec rm -rf {} +
# kubernetes.core: from Galaxy, or, where that is out of reach, from PyPI's ansible, which has it.
if ! timeout 60 env PYTHONPATH="$packages" /usr/bin/python3 "$root/usr/local/bin/ansible-galaxy" collection install --no-deps \
    --collections-path "$root/usr/share/ansible/collections" 'kubernetes.core:>=5.3.0,<8.0.0'; then
    pip download --no-deps --no-binary :none: --dest "$WORK/ansible" 'ansible>=12,<13'
    (cd "$WORK" && /usr/bin/python3 -m zipfile -e ansible/ansible-*.whl whole)
    mkdir -p "$collections/kubernetes"
    cp -r "$WORK/whole/ansible_collections/kubernetes/core" "$collections/kubernetes/"
fi
compile_python "$root" "$packages"
tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$root" -cf "$OUT/layer.tar" .
