# Copyright: (c) 2026, holdfast.postgres contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is run in the pods of a recovery beside our playbook: a few lines of sh each. Every one of them may be run again after it was killed.

The old data and the new change places entry by entry, as a mount point cannot be renamed and may be PGDATA itself; ``phase`` says how far
that is, so that from whatever is found the way forward and the way back are both known.
"""

from __future__ import annotations

# What stays where it is: our own directory, and what ext4 has at a volume's top. Nothing is moved over what is there already: that would be of
# somebody who started a server in the middle. The room for a phase is taken before the first, as a volume may be full then.
_MOVE = r"""
move() {
    # What mv -n ends with, where something is there already, is one thing in one version and another in the next.
    find "$1" -mindepth 1 -maxdepth 1 ! -name .holdfast ! -name lost+found -exec mv -n -t "$2" -- {} + || :
    left=$(find "$1" -mindepth 1 -maxdepth 1 ! -name .holdfast ! -name lost+found | head -n 1)
    [ -n "$left" ] || return 0
    why="see what mv said in this Job's log"
    if [ -e "$2/${left##*/}" ]; then why="something of that name is there already"; fi
    say "$left could not be moved to $2: $why"
    exit 6
}
phase() {
    printf '%s\n' "$1" > "$HIDDEN/phase.new" || { rm -f "$HIDDEN/room"; printf '%s\n' "$1" > "$HIDDEN/phase.new"; }
    sync; mv "$HIDDEN/phase.new" "$HIDDEN/phase"; sync
}
now() { if [ -e "$HIDDEN/phase" ]; then cat "$HIDDEN/phase"; else echo none; fi; }
say() { printf '%s\n' "$1" > /dev/termination-log; }
"""

#: Looks, before anything is stopped: whose the data is, how much room there is, and what cannot be exchanged. As whoever the image runs as,
#: or as the owner: only then it sees what is inside.
LOOK = r"""
set -u
out=/tmp/found
if [ ! -d "$PGDATA" ]; then echo "there=no" > "$out"; else
    {
        echo "there=yes"
        stat -c 'user=%u
group=%g' "$PGDATA"
        df -Pk "$PGDATA" | awk 'NR == 2 { printf "free=%.0f\nsize=%.0f\n", $4 * 1024, $2 * 1024 }'
        if [ -w "$MOUNT" ]; then echo "beside=yes"; else echo "beside=no"; fi
        if [ -r "$PGDATA/PG_VERSION" ]; then
            echo "inside=yes"
            if [ -L "$PGDATA/pg_wal" ]; then echo "wal=$(readlink "$PGDATA/pg_wal")"; fi
            find "$PGDATA/pg_tblspc" -mindepth 1 -maxdepth 1 2>/dev/null | sed 's/^/tablespace=/'
        fi
    } > "$out" 2>/dev/null
fi
cat "$out"
cat "$out" > /dev/termination-log
"""

#: The part of a new volume that the server's pod mounts (subPath), so that it is whoever the data is of who can write there.
PART = (
    _MOVE
    + r"""
set -eu
umask 0007
mkdir -p "$MOUNT/$PART" || { say "as user $(id -u), nothing can be written into the volume ($MOUNT)"; exit 6; }
say "part=$PART"
"""
)

#: The hidden directory of a recovery, and the room for what is laid out.
MAKE = (
    _MOVE
    + r"""
set -eu
mkdir -p "$HIDDEN/new" "$HIDDEN/old" || { say "as user $(id -u), nothing can be written into the volume ($MOUNT)"; exit 6; }
chmod 0700 "$(dirname "$HIDDEN")" "$HIDDEN" "$HIDDEN/new" "$HIDDEN/old"
find "$HIDDEN/new" -mindepth 1 -delete
say "made=$HIDDEN"
"""
)

#: The new data takes the old one's place. ANEW: there may be no server that is to be kept, as of a clone, or a replica whose data is lost.
SWAP = (
    _MOVE
    + r"""
set -eu
case "$(now)" in
    none)
        test -f "$NEW/PG_VERSION" && test -f "$NEW/global/pg_control" || { say "there is no recovered data directory in $NEW"; exit 3; }
        if [ -f "$PGDATA/PG_VERSION" ]; then : > "$HIDDEN/had"; fi
        test -e "$HIDDEN/had" || [ -n "${ANEW:-}" ] || { say "there is no server in $PGDATA any more, which was to be kept"; exit 3; }
        head -c 65536 /dev/zero > "$HIDDEN/room"
        phase out ;;
    out|in|done) ;;
    *) say "it was already being moved back, or what stands in $HIDDEN/phase is not known ($(now))"; exit 4 ;;
esac
if [ "$(now)" = out ]; then
    if [ ! -d "$PGDATA" ]; then mkdir -m 0700 "$PGDATA"; fi
    move "$PGDATA" "$HIDDEN/old"
    phase in
fi
if [ "$(now)" = in ]; then move "$NEW" "$PGDATA"; phase done; fi
test -f "$PGDATA/PG_VERSION" && test -f "$PGDATA/global/pg_control" || { say "$PGDATA has no server after the exchange"; exit 5; }
say "swapped=yes"
"""
)

#: The old data takes its place again.
BACK = (
    _MOVE
    + r"""
set -eu
if [ ! -d "$HIDDEN" ]; then say "$HIDDEN is not there any more, in which the old data was kept"; exit 7; fi
case "$(now)" in
    none|back) say "back=nothing"; exit 0 ;;
    out) phase bring ;;
    in|done) phase clear ;;
    clear|bring) ;;
    *) say "what stands in $HIDDEN/phase is not known ($(now))"; exit 4 ;;
esac
if [ "$(now)" = clear ]; then mkdir -p "$NEW"; move "$PGDATA" "$NEW"; phase bring; fi
if [ "$(now)" = bring ]; then move "$HIDDEN/old" "$PGDATA"; phase back; fi
test ! -e "$HIDDEN/had" || test -f "$PGDATA/PG_VERSION" || { say "$PGDATA has no server after the old data was moved back"; exit 5; }
say "back=yes"
"""
)

#: What is not needed any more. Never while the old data is still in there and belongs elsewhere.
REMOVE = (
    _MOVE
    + r"""
set -eu
if [ -d "$HIDDEN" ]; then
    case "$(now)" in
        done) rm -rf "$HIDDEN/old" "$HIDDEN/new" ;;  # before what says that they may go
        none|back)
            [ ! -d "$HIDDEN/old" ] || [ -z "$(ls -A "$HIDDEN/old")" ] || { say "the old data is still in $HIDDEN/old"; exit 4; } ;;
        *) say "the old data is still in $HIDDEN ($(now))"; exit 4 ;;
    esac
    rm -rf "$HIDDEN"
    rmdir "$(dirname "$HIDDEN")" 2>/dev/null || true
fi
say "removed=yes"
"""
)

#: In the server's own image: PostgreSQL recovers, where nobody can reach it, until the other container has seen enough. The program need
#: not be in PATH, and none of a name that an image may lack is used: no pg_ctl, no find.
SERVER = r"""
set -u
major=$(cat "$PGDATA/PG_VERSION")
program=$(command -v postgres || true)
for one in "/usr/lib/postgresql/$major/bin/postgres" "/usr/pgsql-$major/bin/postgres" /opt/bitnami/postgresql/bin/postgres \
    "/usr/libexec/postgresql$major/postgres" /usr/local/pgsql/bin/postgres /usr/local/bin/postgres /usr/bin/postgres; do
    if [ -z "$program" ] && [ -x "$one" ]; then program=$one; fi
done
if [ -z "$program" ]; then
    echo "no program postgres of version $major was found in the image" > "$SHARED/log"
    echo 127 > "$SHARED/ended"
    exit 1
fi
if [ "$major" -ge 17 ]; then set -- "$@" -c event_triggers=off; fi
if [ ! -e "$PGDATA/postgresql.conf" ]; then  # it lies in the image, or in a ConfigMap
    : > "$SHARED/postgresql.conf"
    set -- "$@" -c config_file="$SHARED/postgresql.conf"
fi
chmod 0700 "$PGDATA" || true
rm -f "$PGDATA/postmaster.pid" "$SHARED/ended" "$SHARED/stop"
echo 'local all all trust' > "$SHARED/hba"
: > "$SHARED/log"
"$program" -D "$PGDATA" -c data_directory="$PGDATA" -c hba_file="$SHARED/hba" -c unix_socket_directories="$SHARED" "$@" >> "$SHARED/log" 2>&1 &
server=$!
trap 'kill -INT $server 2>/dev/null' TERM INT
while kill -0 $server 2>/dev/null && [ ! -e "$SHARED/stop" ]; do sleep 0.2; done
kill -INT $server 2>/dev/null
wait $server
code=$?
echo $code > "$SHARED/ended.new"
mv "$SHARED/ended.new" "$SHARED/ended"
exit $code
"""
