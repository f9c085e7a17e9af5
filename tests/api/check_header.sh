#!/usr/bin/env bash
# Compiles the public header alone in the languages of those who may include it, with every warning an error, and with
# the MSVC spelling of export. Usage: check_header.sh INCLUDE_DIR C_COMPILER CXX_COMPILER
set -eu
include=$1 cc=$2 cxx=$3
status=0

# check LANGUAGE COMPILER FLAG ..: includes the header twice, and uses one of its inline functions.
check() {
  local language=$1
  shift
  printf '%s\n' '#include "darkroom/darkroom.h"' '#include "darkroom/darkroom.h"' \
    'int f(void); int f(void) { darkroom_request r; darkroom_request_init(&r); return r.count; }' \
    '#if DARKROOM_VERSION_NUMBER < 100' '#error no version' '#endif' |
    "$@" -x "$language" -fsyntax-only -I"$include" -Wall -Wextra -pedantic -Wshadow -Werror - ||
    { echo "the header does not compile with: $*"; status=1; }
}

for standard in c99 c11 c17; do
  check c "$cc" -std=$standard -Wstrict-prototypes -Wmissing-prototypes -Wc++-compat
done
for standard in c++11 c++14 c++17 c++20; do
  check c++ "$cxx" -std=$standard -Wold-style-cast -Wzero-as-null-pointer-constant
done

# What a program sees, what the library itself, and what a program that links statically.
msvc() { echo '#include "darkroom/darkroom.h"' | "$cc" -E -P -I"$include" -D_WIN32 "$@" -; }
spelled() { msvc "${@:2}" | grep -o "__declspec($1)" | wc -l; }
[ "$(spelled dllimport)" -ge 25 ] || { echo "_WIN32: functions are not imported"; status=1; }
[ "$(spelled dllexport -DDARKROOM_BUILDING)" = "$(spelled dllimport)" ] || { echo "_WIN32: not exported"; status=1; }
[ "$(spelled 'dll[a-z]*' -DDARKROOM_STATIC)" = 0 ] || { echo "_WIN32: DARKROOM_STATIC still imports"; status=1; }
for flag in -DDARKROOM_OTHER -DDARKROOM_BUILDING -DDARKROOM_STATIC; do
  check c "$cc" -std=c99 -D_WIN32 '-D__declspec(x)=' $flag
  check c++ "$cxx" -std=c++11 -D_WIN32 '-D__declspec(x)=' $flag
done
exit $status
