#!/usr/bin/env bash
# Installs a build into a folder of its own and draws with what is there; builds a C program against the header and
# the library. Usage: check_install.sh BUILD_DIR SOURCE_DIR CMAKE C_COMPILER SANITIZERS
set -eu
build=$1 source=$2 cmake=$3 cc=$4 sanitizers=$5
fail() { echo "$*"; exit 1; }

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
prefix=$folder/prefix
unset DARKROOM_ASSETS
export XDG_CACHE_HOME=$folder/cache
"$cmake" --install "$build" --prefix "$prefix" >"$folder/install.log" || fail "$(cat "$folder/install.log")"
for file in bin/darkroom lib/libdarkroom.so include/darkroom/darkroom.h share/doc/darkroom/{LICENSE,THIRD_PARTY.md}; do
  [ -e "$prefix/$file" ] || fail "$file is not installed"
done
for file in man/man1/darkroom.1 bash-completion/completions/darkroom zsh/site-functions/_darkroom; do
  grep -q generate "$prefix/share/$file" || fail "share/$file is not installed, or empty"
done
mkdir "$folder/work"
cd "$folder/work"

# The installed program draws what the built one draws.
draw() { "$1" generate "a red circle" --seed 1 -W 32 -H 32 --steps 1 -q "${@:2}" >>paths; }
for program in "$build" "$prefix/bin"; do
  draw "$program/darkroom" --dummy tiny -o tiny.png
done
cmp tiny.png tiny-2.png

# Without --model it takes the model of its prefix; links inside the models are kept.
links() { (cd "$1" && find . -type l -exec readlink {} + -print | sort); }
[ "$(links "$source/assets")" = "$(links "$prefix/share/darkroom")" ] || fail "links of assets/ became something else"
draw "$prefix/bin/darkroom" -o pinhole.png
"$prefix/bin/darkroom" info pinhole.png | grep -q '^model  *pinhole$' || fail "the model is not the prefix's"

# A sanitizer's runtime must be the first library of a process, and a plain C program does not bring it.
[ -z "$sanitizers" ] || exit 0
others=$(nm -D --defined-only "$prefix/lib/libdarkroom.so" | awk '$2 != "A" { print $3 }' | grep -v '^darkroom_' || true)
[ -z "$others" ] || fail "the library exports more than its API: $others"
cat >program.c <<'END'
#include <darkroom/darkroom.h>
#include <stdio.h>

int main(void) {
  darkroom_engine* engine = NULL;
  darkroom_model* model = NULL;
  const darkroom_status status = darkroom_create(NULL, &engine);
  if (status == DARKROOM_OK && darkroom_open_dummy(engine, "tiny", &model) == DARKROOM_OK) {
    puts(darkroom_model_name(model));
  }
  darkroom_close(model);
  darkroom_destroy(engine);
  return 0;
}
END
flags=$(PKG_CONFIG_PATH=$prefix/lib/pkgconfig pkg-config --cflags --libs darkroom)
"$cc" program.c $flags -Wl,-rpath,"$prefix/lib" -o program
[ "$(./program)" = dummy-tiny ] || fail "a program with the installed library does not work"
