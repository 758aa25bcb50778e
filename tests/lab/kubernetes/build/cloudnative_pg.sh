#!/usr/bin/env bash
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# CloudNativePG's operator: the layer of its image, and the manifest of the release, which its Go module has.
# shellcheck source-path=SCRIPTDIR
. "$HERE/common.sh"
operator=github.com/cloudnative-pg/cloudnative-pg

start_module cloudnative-pg
go get "$operator@v$CNPG_VERSION"
# Kubernetes' modules at the release that the cluster has: most of what is compiled is then compiled already.
for name in api apimachinery client-go apiextensions-apiserver cli-runtime; do echo "k8s.io/$name@$K8S_MODULES"; done | xargs go get
root="$WORK/root"
mkdir -p "$root/operator" "$root/tmp"
LINKER_FLAGS="-X $operator/pkg/versions.buildVersion=$CNPG_VERSION" build "$root/operator/manager_amd64" "$operator/cmd/manager"
# It copies itself into the pods of its clusters, and looks for a program an architecture.
ln -s operator/manager_amd64 "$root/manager"
chmod 1777 "$root/tmp"
tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$root" -cf "$OUT/layer.tar" .
install -m 0644 "$(go env GOMODCACHE)/$operator@v$CNPG_VERSION/releases/cnpg-$CNPG_VERSION.yaml" "$OUT/manifest.yaml"
