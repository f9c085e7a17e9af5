#!/usr/bin/env bash
# Fails when a function that docs/TRACE.md names in a hop, as `name()` in `file`, is not in that file.
# Usage: check_trace.sh SOURCE_DIR
set -eu
cd "$1"
status=0 hops=0
while read -r name file; do
  hops=$((hops + 1))
  grep -qE "\b$name\(" "$file" 2>/dev/null || { echo "docs/TRACE.md: $name() is not in $file"; status=1; }
done < <(sed -nE 's/^[0-9]+\. `([a-zA-Z_:]+)\(\)` in `([^`]+)`.*/\1 \2/p' docs/TRACE.md | sed -E 's/^[a-z_0-9]+:://')
[ "$hops" = 10 ] || { echo "docs/TRACE.md has $hops hops, expected 10"; status=1; }
exit $status
