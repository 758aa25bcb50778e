#!/usr/bin/env bash
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The CSI sidecars that provision and snapshot, the snapshot controller, and the definitions of its resources.
# shellcheck source-path=SCRIPTDIR
. "$HERE/common.sh"
snapshotter=github.com/kubernetes-csi/external-snapshotter
provisioner=github.com/kubernetes-csi/external-provisioner/v5

start_module snapshotter
go mod edit -replace="$snapshotter/client/v8=$snapshotter/client/v8@v$SNAPSHOTTER_VERSION"
inherit_replacements "$snapshotter/v8@v$SNAPSHOTTER_VERSION"
go get "$snapshotter/v8@v$SNAPSHOTTER_VERSION"
# Kubernetes' modules at the release that the cluster has: most of what is compiled is then compiled already.
go list -m -f '{{if and (not .Replace) (not .Main)}}{{.Path}} {{.Version}}{{end}}' all 2>/dev/null \
    | sed -nE 's#^(k8s\.io/[a-z-]+) v0\.3[0-9]\.[0-9]+$#\1@'"$K8S_MODULES"'#p' | xargs go get
build "$OUT/" "$snapshotter/v8/cmd/snapshot-controller" "$snapshotter/v8/cmd/csi-snapshotter"
for file in "$(go env GOMODCACHE)/$snapshotter/client/v8@v$SNAPSHOTTER_VERSION"/config/crd/snapshot.storage.k8s.io_*.yaml; do
    echo ---
    cat "$file"
done >"$OUT/snapshot-crds.yaml"

start_module provisioner
inherit_replacements "$provisioner@v$PROVISIONER_VERSION"
go get "$provisioner@v$PROVISIONER_VERSION"
build "$OUT/csi-provisioner" "$provisioner/cmd/csi-provisioner"
