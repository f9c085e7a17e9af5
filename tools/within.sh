#!/bin/bash
# Runs a command in a memory cgroup that kills it when it needs more; says on standard error what it needed.
#
#     tools/within.sh 8GiB build/darkroom generate --dummy dev -p x --budget 8GiB
#
# SIZE: bytes, or with MiB or GiB. Needs root and a kernel with memory cgroups, of version 1 or 2. The page cache
# of files that the command reads counts too, but the kernel drops it before it kills. Exit code: the command's.
set -euo pipefail

(($# >= 2)) || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
limit=$(numfmt --from=auto --suffix=B "$1")
limit=${limit%B}
shift

if [[ -f /sys/fs/cgroup/cgroup.controllers ]]; then
    group=/sys/fs/cgroup/darkroom-$$
    limit_file=memory.max peak_file=memory.peak kills_file=memory.events
else
    group=/sys/fs/cgroup/memory$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)/darkroom-$$
    limit_file=memory.limit_in_bytes peak_file=memory.max_usage_in_bytes kills_file=memory.oom_control
fi
mkdir "$group"
trap 'rmdir "$group"' EXIT
echo "$limit" >"$group/$limit_file"

code=0
bash -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group" "$@" || code=$?
peak=$(numfmt --to=iec-i --suffix=B --format=%.2f <"$group/$peak_file")
kills=$(sed -n 's/^oom_kill //p' "$group/$kills_file")
echo "within $(numfmt --to=iec-i --suffix=B --format=%.2f "$limit"): at most $peak with the page cache, killed ${kills:-?} times, code $code" >&2
exit "$code"
