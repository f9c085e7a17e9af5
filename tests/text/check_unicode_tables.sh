#!/bin/sh
# Fails when src/text/unicode_tables.cc is not what tools/unicode/make_tables.py makes. Exit code 77 (skipped) without
# Python or the Unicode Character Database. Usage: check_unicode_tables.sh SOURCE_DIR UCD_FOLDER
set -eu
cd "$1"
command -v python3 >/dev/null || { echo "there is no python3"; exit 77; }
[ -f "$2/UnicodeData.txt" ] || { echo "DARKROOM_UCD names no folder with UnicodeData.txt"; exit 77; }
made=$(mktemp)
trap 'rm -f "$made"' EXIT
python3 tools/unicode/make_tables.py "$2" >"$made"
cmp "$made" src/text/unicode_tables.cc
