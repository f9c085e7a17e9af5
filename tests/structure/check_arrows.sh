#!/usr/bin/env bash
# Fails when a file under src/ includes from a room that arrows.txt does not allow, when the program includes a header
# of ours besides darkroom.h, or when a vendor's header is outside its backend.
# Usage: check_arrows.sh SOURCE_DIR
set -eu
cd "$1"
arrows=tests/structure/arrows.txt
rooms=$(sed -n 's/^\([a-z_/]*\):.*/\1/p' "$arrows" | sort -r)  # backends/cpu before backends
status=0

# The room that a path inside src/ lies in, or nothing.
room_of() {
  local room
  for room in $rooms; do
    case "$1" in "$room"/*) echo "$room"; return ;; esac
  done
}

while IFS=: read -r file line text; do
  path=${file#src/}
  included=$(sed 's/.*#include "\([^"]*\)".*/\1/' <<<"$text")
  [ "$included" = darkroom/darkroom.h ] && [ "${path%%/*}" = api ] && continue
  from=$(room_of "$path")
  to=$(room_of "$included")
  if [ -z "$from" ] || [ -z "$to" ]; then
    echo "$file:$line: \"$included\" is in no room of $arrows"; status=1
  elif [ "$from" != "$to" ] && ! grep -qE "^$from:( .*)? $to( |\$)" "$arrows"; then
    echo "$file:$line: $from must not include $to ($included)"; status=1
  fi
done < <(grep -rnE '^ *#include "' src --include='*.h' --include='*.cc')

if grep -rnE '^ *#include "' apps --include='*.h' --include='*.cc' | grep -vE '"(darkroom/darkroom\.h|[a-z_0-9]+\.h)"'; then
  echo "the program may include darkroom/darkroom.h and headers under apps only"; status=1
fi
if grep -rnE '^ *#include [<"](hwy/|dnnl|oneapi/|cuda|cublas|cudnn|immintrin)' src | grep -v '^src/backends/'; then
  echo "vendors' headers belong into src/backends"; status=1
fi
exit $status
