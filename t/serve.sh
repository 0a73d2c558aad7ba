# For the commands beside this file, which read it: a server of their own, on a free port of the
# loopback address, and a folder for its files, $work, that is removed at the end.
cd "$(dirname "$0")/.."
work=$(mktemp -d)
parent=
trap 'exit 1' INT TERM
trap 'test -z "$parent" || kill "$parent" 2>/dev/null || true; rm -rf "$work"' EXIT

chmod 755 "$work"
mkdir "$work/config" "$work/plugins" "$work/spool"
chmod 700 "$work/spool"
user=
if [ "$(id -u)" = 0 ]; then
    chown nobody "$work/spool"
    user='--user nobody'
fi
echo "$work/spool" >"$work/config/spool_dir"
echo example.com >"$work/config/rcpthosts"
printf '%s\n' rcpt_ok queue/discard >"$work/config/plugins"

# Builds a program, and starts it with some options, behind the words in $under: its process is
# $parent, its port $port, its log $work/log.
under=
profile=release
start() {
    program=$1
    shift
    cargo build --profile "$profile" --locked --quiet --bin "$program"
    folder=${CARGO_TARGET_DIR:-target}/$(test "$profile" = dev && echo debug || echo "$profile")
    : >"$work/log"
    # shellcheck disable=SC2086
    QPSMTPD_CONFIG=$work/config $under "$folder/$program" \
        --listen-address 127.0.0.1:0 $user "$@" >"$work/log" 2>&1 &
    parent=$!
    until grep -q 'listening on' "$work/log"; do
        kill -0 "$parent" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
        sleep 0.1
    done
    port=$(sed -n 's/.*listening on 127.0.0.1:\([0-9]*\).*/\1/p' "$work/log" | head -n 1)
}

stop() {
    kill "$parent"
    wait "$parent" || true
    parent=
}

# The memory that a process takes, in KiB; what it shares is divided by how many share it.
pss() { awk '/^Pss:/ { print $2 }' "/proc/$1/smaps_rollup"; }

children() { cat "/proc/$1/task/$1/children" 2>/dev/null; }
