#!/bin/sh
# on_new_lavapipe.sh FOLDER PROGRAM: runs it on what tools/new_lavapipe.sh has unpacked there; 77 without either.
if [ ! -x "$1/run" ] || [ ! -x "$2" ]; then
  echo "$1/run or $2 is not there: make gpu-matrix"
  exit 77
fi
exec "$1/run" "$2"
