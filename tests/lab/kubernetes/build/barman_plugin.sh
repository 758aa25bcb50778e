#!/usr/bin/env bash
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# CloudNativePG's plugin for object stores (Barman Cloud): the layer with its program, for the plugin and for its sidecars, and the manifest of the
# release, which its Go module has.
# shellcheck source-path=SCRIPTDIR
. "$HERE/common.sh"
plugin=github.com/cloudnative-pg/plugin-barman-cloud

start_module barman-plugin
go get "$plugin@v$BARMAN_PLUGIN_VERSION"
root="$WORK/root"
mkdir -p "$root/tmp"
build "$root/manager" "$plugin/cmd/manager"
chmod 1777 "$root/tmp"
tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$root" -cf "$OUT/layer.tar" .
install -m 0644 "$(go env GOMODCACHE)/$plugin@v$BARMAN_PLUGIN_VERSION/manifest.yaml" "$OUT/manifest.yaml"
