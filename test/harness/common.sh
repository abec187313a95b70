# Sourced by the scripts of test/ and demo/: the same surroundings wherever they run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

export LC_ALL=C.UTF-8
umask 022
# These scripts start a make of their own and choose their own server.
unset MAKEFLAGS MFLAGS MAKELEVEL
for name in ${!PG@}; do
	case $name in PG_*) ;; *) unset "$name" ;; esac
done

die() {
	echo "${0##*/}: $*" >&2
	exit 1
}

# The server refuses to run as root, so root runs it as user postgres.
server_user=()
if [ "$(id -u)" = 0 ]; then server_user=(runuser -u postgres --); fi
as_server() {
	if [ "$(id -u)" = 0 ]; then (cd / && "${server_user[@]}" "$@"); else "$@"; fi
}

# Prints a new folder for a cluster: in build/ if the server's user gets there and the
# path leaves room for sockets (107 bytes) in subfolders, else in /tmp. Other checkouts
# and runs can't meet it. "new_folder NAME memory" prefers /dev/shm, where there is plenty.
new_folder() {
	local template=$PWD/build/$1.XXXXXX folder room
	mkdir -p build
	if [[ $template =~ [^A-Za-z0-9_./+-] ]] || [ ${#template} -gt 64 ] ||
		! as_server test -x "$PWD/build"; then
		template=/tmp/loyalty-$1.XXXXXX
	fi
	if [ "${2:-}" = memory ]; then
		room=$({ sed -n 's/^MemAvailable: *\([0-9]*\).*/\1/p' /proc/meminfo; df -k --output=avail /dev/shm | tail -1; } 2>/dev/null | sort -n | sed -n 1p)
		if [ "${room:-0}" -gt 6000000 ] && folder=$(mktemp -d "/dev/shm/loyalty-$1.XXXXXX"); then
			# Libraries are loaded from it, which a mount may forbid.
			if install -m 755 /dev/stdin "$folder/test" <<<'#!/bin/sh' && "$folder/test" 2>/dev/null; then
				rm "$folder/test"
				echo "$folder"
				return
			fi
			rm -r "$folder"
		fi
	fi
	mktemp -d "$template"
}

# Milliseconds, for taking differences.
now() {
	echo $((${EPOCHREALTIME/./} / 1000))
}

seconds_since() {
	local ms=$(($(now) - $1))
	printf '%d.%d s' $((ms / 1000)) $((ms % 1000 / 100))
}
