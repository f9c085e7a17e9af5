#!/bin/sh
# Installs the Debian packages that a build needs and this machine lacks, after saying which. Does nothing when all
# are there. "tools/setup.sh SET" adds what some targets of the Makefile need: tests (a Vulkan driver that computes on the
# processor, and its validation layer), clang (asan, fuzz, tsan), format, arm.
set -eu

packages="make g++ cmake ninja-build pkg-config libhwy-dev libcli11-dev nlohmann-json3-dev libfmt-dev libpng-dev
  libjpeg-dev libwebp-dev libstb-dev libgtest-dev libvulkan-dev glslc"
for extra in "$@"; do
  case $extra in
    tests) packages="$packages mesa-vulkan-drivers vulkan-validationlayers" ;;
    clang) packages="$packages clang libclang-rt-14-dev llvm" ;;
    format) packages="$packages clang-format git" ;;
    arm) # without pkg-config:arm64, which would take the place of the machine's own
      packages="$packages g++-aarch64-linux-gnu qemu-user libhwy-dev:arm64 libfmt-dev:arm64 libpng-dev:arm64
        libjpeg-dev:arm64 libwebp-dev:arm64 libgtest-dev:arm64"
      ;;
    *) echo "setup.sh: there is no set '$extra'; there are tests, clang, format and arm" >&2 && exit 2 ;;
  esac
done

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "setup.sh: this is no Debian; going on in the hope that these, or their like, are installed:" $packages >&2
  exit 0
fi

missing=
for package in $packages; do
  case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) in
    *" ok installed") ;;
    *) missing="$missing $package" ;;
  esac
done
[ -n "$missing" ] || exit 0

sudo=
if [ "$(id -u)" != 0 ]; then
  sudo=sudo
  if ! command -v sudo >/dev/null; then
    echo "setup.sh: packages are missing and there is no sudo; as root, run: apt-get install$missing" >&2
    exit 1
  fi
fi
echo "Installing Debian packages:$missing"
case $missing in *:arm64*) $sudo dpkg --add-architecture arm64 ;; esac
$sudo apt-get update -qq
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
