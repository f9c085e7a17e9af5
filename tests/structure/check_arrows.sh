#!/usr/bin/env bash
# Fails when a file under src/ includes from a room that arrows.txt does not allow, when the program includes a header
# of ours besides darkroom.h, or when a vendor's header is outside its backend.
# Usage: check_arrows.sh SOURCE_DIR
set -eu
cd "$1"
arrows=tests/structure/arrows.txt
status=0

# "FILE:LINE:#include ..." of all sources, held against the arrows.
grep -rnE '^ *#include "' src --include='*.h' --include='*.cc' | awk -v arrows="$arrows" '
  BEGIN {
    while ((getline line < arrows) > 0) {
      if (line !~ /^[a-z_\/]+:/) continue
      room = line; sub(/:.*/, "", room); sub(/^[^:]*:/, "", line)
      rooms[room] = 1
      count = split(line, names, " ")
      for (i = 1; i <= count; ++i) allowed[room, names[i]] = 1
    }
  }
  # The room that a path inside src/ lies in, or nothing: backends/cpu before backends.
  function room_of(path) {
    while (sub(/\/[^\/]*$/, "", path)) if (path in rooms) return path
    return ""
  }
  {
    split($0, part, ":")
    included = $0; sub(/.*#include "/, "", included); sub(/".*/, "", included)
    path = part[1]; sub(/^src\//, "", path)
    from = room_of(path); to = room_of(included)
    if (included == "darkroom/darkroom.h" && from == "api") next
    if (from == "" || to == "") {
      print part[1] ":" part[2] ": \"" included "\" is in no room of " arrows; bad = 1
    } else if (from != to && !((from, to) in allowed)) {
      print part[1] ":" part[2] ": " from " must not include " to " (" included ")"; bad = 1
    }
  }
  END { exit bad }' || status=1

if grep -rnE '^ *#include "' apps --include='*.h' --include='*.cc' | grep -vE '"(darkroom/darkroom\.h|[a-z_0-9]+\.h)"'; then
  echo "the program may include darkroom/darkroom.h and headers under apps only"; status=1
fi
if grep -rnE '^ *#include [<"](hwy/|dnnl|oneapi/|cuda|cublas|cudnn|immintrin|vulkan/)' src | grep -v '^src/backends/'; then
  echo "vendors' headers belong into src/backends"; status=1
fi
exit $status
