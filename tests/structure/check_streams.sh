#!/usr/bin/env bash
# Fails when anything but apps/streams writes to a standard stream: the library never prints, and a program must not
# fail because nobody reads what it says on standard error.
# Usage: check_streams.sh SOURCE_DIR
set -eu
cd "$1"
ways='[^/a-z_](stderr|stdout)\b|std::(cerr|clog|cout|wcerr|wcout|print|println)\b|\bfmt::print|\b(printf|puts|putchar|perror|psignal)\(|\b(write|dprintf)\(STD|>"/dev/(stderr|tty)'
if grep -rnE "$ways" src include apps tools --include='*.h' --include='*.cc' | grep -vE '^apps/streams/|^[^:]*:[0-9]+: *(//|/?\*)'; then
  echo "standard streams are written by apps/streams only"; exit 1
fi
