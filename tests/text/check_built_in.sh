#!/bin/sh
# Fails when assets/tokenizers is not what tools/tokenizers/make_data.py makes. Exit code 77 (skipped) without Python or
# the files of FLUX.1. Usage: check_built_in.sh SOURCE_DIR
set -eu
model=$1/../shared/flux1/dev
command -v python3 >/dev/null || { echo "there is no python3"; exit 77; }
[ -f "$model/tokenizer/merges.txt" ] || { echo "there are no FLUX.1 files beside this tree"; exit 77; }
python3 "$1/tools/tokenizers/make_data.py" "$model/tokenizer" "$model/tokenizer_2" "$1/assets/tokenizers" --check
