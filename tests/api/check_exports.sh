#!/usr/bin/env bash
# The shared library exports the functions that the header names, each in the node of the version that exports.map puts
# it into, and nothing else. Usage: check_exports.sh LIBRARY HEADER EXPORTS_MAP
set -eu
library=$1 header=$2 map=$3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Inline functions are no exports, except those that once were functions of the library (old_callers.cc).
inline=$(grep -oE 'static inline void darkroom_[a-z_]+\(' "$header" | grep -oE 'darkroom_[a-z_]+')
grep -oE 'darkroom_[a-z_]+\(' "$header" | tr -d '(' | sort -u |
  while read -r name; do grep -qx "$name" <<<"$inline" && ! grep -q " $name;" "$map" || echo "$name"; done >"$folder/header"
nm -D --defined-only "$library" | awk '$2 != "A" { print $3 }' | sort -u >"$folder/exported"
awk '/^DARKROOM_/ { node = $1 } /^ +darkroom_/ { sub(";", "", $1); print $1 "@@" node }' "$map" | sort -u >"$folder/map"
[ -s "$folder/header" ] && [ -s "$folder/map" ] || { echo "nothing to compare"; exit 1; }
diff "$folder/map" "$folder/exported" || { echo "the library's exports (>) are not those of $map (<)"; exit 1; }
diff "$folder/header" <(sed 's/@@.*//' "$folder/exported") ||
  { echo "the library's exports (>) are not the functions of $header (<)"; exit 1; }
