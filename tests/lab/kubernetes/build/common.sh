# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Sourced by the scripts beside it. tests/lab/kubernetes/parts.py runs them with $OUT, the empty directory to fill, $WORK, a directory
# for what is needed only while building, $HERE, this directory, and the versions.
set -euo pipefail
export GOFLAGS=-mod=mod CGO_ENABLED=0 DEBIAN_FRONTEND=noninteractive
# The published modules of Kubernetes have the release's number with 0 in front: 1.36.3 is v0.36.3.
K8S_MODULES="v0.${K8S_VERSION#*.}"

# An empty module of our own, which imports what is built.
start_module() {
    mkdir -p "$WORK/$1"
    cd "$WORK/$1"
    go mod init "local/$1" 2>/dev/null
}

# MODULE@VERSION: the "replace" lines of its go.mod, which Go does not inherit, become ours.
inherit_replacements() {
    local go_mod line
    go_mod=$(go mod download -json "$1" | jq -r .GoMod)
    go mod edit -json "$go_mod" | jq -r '.Replace[]? | select(.New.Version) | "\(.Old.Path)=\(.New.Path)@\(.New.Version)"' \
        | while read -r line; do go mod edit -replace="$line"; done
}

build() { # OUTPUT PACKAGE...
    go build -trimpath -ldflags "-s -w ${LINKER_FLAGS:-}" -o "$@"
}
