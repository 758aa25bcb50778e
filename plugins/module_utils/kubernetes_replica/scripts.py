# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs beside a replica's data (pure): a few lines of sh each, which may be run again after they were killed. A password never leaves the pod
that needs it: how the replica follows is read there, out of what it has."""

from __future__ import annotations

from ansible_collections.holdfast.postgres.plugins.module_utils.kubernetes_recovery import scripts

# What the data's own configuration says; the last line counts, and postgresql.auto.conf more than postgresql.conf.
_SETTING = r"""
setting() {
    for file in "$PGDATA/postgresql.auto.conf" "$PGDATA/postgresql.conf"; do
        [ -r "$file" ] || continue
        line=$(grep -i "^[[:space:]]*$1[[:space:]]*=" "$file" | tail -n 1)
        [ -n "$line" ] || continue
        printf '%s\n' "$line" | sed -e 's/^[^=]*=[[:space:]]*//' -e "s/^'//" -e "s/'[[:space:]]*\(#.*\)\{0,1\}$//" -e "s/''/'/g" -e 's/\\\\/\\/g'
        return
    done
}
"""

#: What the data says of whom it follows, besides what any look finds.
LOOK = (
    scripts.LOOK
    + _SETTING
    + r"""
[ -d "$PGDATA" ] || exit 0
{
    slot=$(setting primary_slot_name)
    if [ -n "$slot" ]; then echo "slot=$slot"; fi
    if [ -n "$(setting primary_conninfo)" ]; then echo "conninfo=yes"; fi
    if [ -e "$PGDATA/standby.signal" ]; then echo "standby=yes"; fi
} >> "$out" 2>/dev/null
cat "$out" > /dev/termination-log
"""
)

#: In the server's own image: a copy of the primary, that follows it as the old data did.
COPY = (
    _SETTING
    + r"""
set -eu
umask 0077
say() { printf '%s\n' "$1" > /dev/termination-log; }
for one in "/usr/lib/postgresql/$MAJOR/bin" "/usr/pgsql-$MAJOR/bin" /opt/bitnami/postgresql/bin "/usr/libexec/postgresql$MAJOR" /usr/local/pgsql/bin \
    /usr/local/bin; do
    if [ -x "$one/pg_basebackup" ]; then PATH="$one:$PATH"; break; fi
done
export PATH LC_ALL=C
command -v pg_basebackup > /dev/null || { say "no pg_basebackup of version $MAJOR was found in the image"; exit 7; }
conninfo=$(setting primary_conninfo)
if [ -z "$conninfo" ]; then
    quoted=$(printf '%s' "${PGPASSWORD:-}" | sed -e 's/\\/\\\\/g' -e "s/'/\\\\'/g")
    conninfo="$FALLBACK password='$quoted'"
fi
unset PGPASSWORD
# Its password goes by the environment: an argument is read by whoever is on the node.
word="[[:space:]]password[[:space:]]*=[[:space:]]*('([^'\\\\]|\\\\.)*'|[^'[:space:]][^[:space:]]*)[[:space:]]"
password=$(printf ' %s ' "$conninfo" | sed -E -n "s/^.*$word.*\$/\\1/p" | sed -e "s/^'//" -e "s/'\$//" -e 's/\\\(.\)/\1/g')
reached=$conninfo
if [ -n "$password" ]; then
    reached=$(printf ' %s ' "$conninfo" | sed -E "s/$word/ /")
    export PGPASSWORD="$password"
fi
rm -rf "$NEW"
mkdir -p -m 0700 "$NEW"
if ! pg_basebackup -d "$reached" -D "$NEW" -X stream -c fast -w -l holdfast-replica > /tmp/said 2>&1; then
    cat /tmp/said
    say "pg_basebackup: $(tail -n 2 /tmp/said | tr '\n' ' ')"
    exit 8
fi
if command -v pg_verifybackup > /dev/null && ! pg_verifybackup "$NEW" > /tmp/said 2>&1; then
    cat /tmp/said
    say "pg_verifybackup: $(tail -n 2 /tmp/said | tr '\n' ' ')"
    exit 9
fi
found=$(pg_controldata -D "$NEW" | sed -n 's/^Database system identifier:[[:space:]]*//p')
if [ "$found" != "$SYSTEM_ID" ]; then
    say "its primary_conninfo leads to another server: system identifier $found, and the primary has $SYSTEM_ID"
    exit 10
fi
auto=$NEW/postgresql.auto.conf
quoted() { printf '%s' "$1" | sed -e 's/\\/\\\\/g' -e "s/'/''/g"; }
{
    if [ -f "$auto" ]; then grep -vi '^[[:space:]]*primary_\(conninfo\|slot_name\)[[:space:]]*=' "$auto" || true; fi
    printf "primary_conninfo = '%s'\n" "$(quoted "$conninfo")"
    if [ -n "$SLOT" ]; then printf "primary_slot_name = '%s'\n" "$SLOT"; fi
} > "$auto.new"
mv "$auto.new" "$auto"
: > "$NEW/standby.signal"
rm -f "$NEW/recovery.signal"
sync
say "copied=yes"
"""
)
