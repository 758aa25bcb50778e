#!/usr/bin/env bash
# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck source-path=SCRIPTDIR
. "$HERE/common.sh"
start_module etcd
go get "go.etcd.io/etcd/server/v3@v$ETCD_VERSION"
build "$OUT/etcd" go.etcd.io/etcd/server/v3
