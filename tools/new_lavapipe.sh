#!/bin/sh
# Unpacks Mesa 26 (lavapipe, whose cooperative matrices Debian 12's has not), its loader and its validation layers
# into a folder: no root, no chroot; about 70 MB are fetched from the mirror that apt uses already, 340 MB unpacked.
# A program built on Debian 12 then runs under that folder's own dynamic loader:
#   tools/new_lavapipe.sh FOLDER            unpacks (nothing is done when it is there already)
#   FOLDER/run PROGRAM [ARGUMENTS]          runs PROGRAM on it, with the validation layers found
set -eu
[ $# = 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
mkdir -p "$1"
folder=$(cd "$1" && pwd)
libraries=$folder/root/usr/lib/x86_64-linux-gnu
[ -x "$folder/run" ] && exit 0
[ "$(uname -m)" = x86_64 ] || { echo "$0: packages of amd64 are unpacked, and this machine is $(uname -m)" >&2; exit 1; }

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' | grep -m1 '/debian/*$') || {
  echo "$0: apt knows no mirror that ends in /debian; add one to its sources" >&2; exit 1; }
key=signed-by=/usr/share/keyrings/debian-archive-keyring.gpg
mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial" "$folder/root"
: > "$folder/status"
printf 'deb [%s] %s trixie main\ndeb [%s] %s trixie-backports main\n' $key "$mirror" $key "$mirror" > "$folder/sources.list"
apt() {
  apt-get -qq -o Dir::Etc::sourcelist="$folder/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    -o Dir::Etc::preferencesparts=/dev/null -o Dir::State::Lists="$folder/lists" -o Dir::State::status="$folder/status" \
    -o Dir::Cache="$folder/cache" -o APT::Install-Recommends=false -o Acquire::Check-Valid-Until=false \
    -o APT::Sandbox::User=root "$@"
}
apt update
apt -y --download-only install mesa-vulkan-drivers/trixie-backports libvulkan1 vulkan-validationlayers
for package in "$folder"/cache/archives/*.deb; do dpkg -x "$package" "$folder/root"; done
rm -rf "$folder/cache" "$folder/lists"

sed "s#\"library_path\": *\".*\"#\"library_path\": \"$libraries/libvulkan_lvp.so\"#" \
  "$folder/root/usr/share/vulkan/icd.d/lvp_icd.json" > "$folder/lvp.json"
cat > "$folder/run.part" <<END
#!/bin/sh
# The compiled shaders are kept in this folder, so that a second run takes seconds.
export VK_DRIVER_FILES="$folder/lvp.json" VK_LAYER_PATH="$folder/root/usr/share/vulkan/explicit_layer.d"
export MESA_SHADER_CACHE_DIR="$folder/shaders"
exec "$libraries/ld-linux-x86-64.so.2" --library-path "$libraries:/usr/lib/x86_64-linux-gnu" "\$@"
END
chmod +x "$folder/run.part"
mv "$folder/run.part" "$folder/run"
