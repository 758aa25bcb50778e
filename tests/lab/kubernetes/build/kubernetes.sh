#!/usr/bin/env bash
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Kubernetes from the Go module proxy (no git, no registry) as one binary, labkube, with a link for each program that it is.
# shellcheck source-path=SCRIPTDIR
. "$HERE/common.sh"
start_module k8s
cp -r "$HERE/go/." .
go_mod=$(go mod download -json "k8s.io/kubernetes@v$K8S_VERSION" | jq -r .GoMod)
# Its modules are "replaced" by folders of the main repository there: the published ones of the same release are the same.
sed -n 's#^\t\(k8s.io/[^ ]*\) => ./staging/.*#\1#p' "$go_mod" | while read -r module; do
    go mod edit -replace="$module=$module@$K8S_MODULES"
done
go get "k8s.io/kubernetes@v$K8S_VERSION" "github.com/container-storage-interface/spec@v$CSI_VERSION" "github.com/miekg/dns@v$DNS_VERSION"
version=k8s.io/component-base/version
minor=${K8S_VERSION#*.}
LINKER_FLAGS="-X $version.gitVersion=v$K8S_VERSION -X $version.gitMajor=${K8S_VERSION%%.*} -X $version.gitMinor=${minor%%.*} -X $version.gitTreeState=clean"
build "$OUT/labkube" .
for name in kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl labdns labcsi; do
    ln -s labkube "$OUT/$name"
done
