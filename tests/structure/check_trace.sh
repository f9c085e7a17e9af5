#!/usr/bin/env bash
# Fails when a function that docs/TRACE.md names in a hop, as `name()` in `file`, is not defined in that file, or when a
# hop is not reached by the hops before it: its name must be used in a file of an earlier hop, or by what it names beside.
# Usage: check_trace.sh SOURCE_DIR
set -eu
cd "$1"
status=0 hops=0 earlier=()

# A definition begins a line, with a type (or a class) in front of the name, and does not end in a semicolon.
defines() { # FILE NAME
  grep -qE "^[a-zA-Z_][a-zA-Z0-9_:<>,&* ]*[ :&*]$2\([^;]*\$" "$1" 2>/dev/null
}

while read -r qualified file; do
  hops=$((hops + 1))
  name=${qualified##*::}
  defines "$file" "$name" || { echo "docs/TRACE.md: $qualified() is not defined in $file"; status=1; }
  if [ "$hops" -gt 1 ]; then
    caller=$qualified
    [ "$qualified" != "$name" ] && caller="${qualified%%::*}|$name"
    grep -qE "\b($caller)\b" "${earlier[@]}" || { echo "docs/TRACE.md: no hop before $qualified() uses it"; status=1; }
  fi
  earlier+=("$file")
done < <(sed -nE 's/^[0-9]+\. `([a-zA-Z_0-9:]+)\(\)` in `([^`]+)`.*/\1 \2/p' docs/TRACE.md)
[ "$hops" = 10 ] || { echo "docs/TRACE.md has $hops hops, expected 10"; status=1; }
exit $status
