#!/bin/sh
# Installs the Debian packages that a build needs and this machine lacks, after saying which. Does nothing when all
# are there. "tools/setup.sh fuzz" and "tools/setup.sh format" add what `make fuzz` and `make format` need.
set -eu

packages="make g++ cmake ninja-build pkg-config libhwy-dev libcli11-dev nlohmann-json3-dev libfmt-dev libpng-dev
  libjpeg-dev libwebp-dev
  libutf8proc-dev libstb-dev libgtest-dev"
for extra in "$@"; do
  case $extra in
    fuzz) packages="$packages clang libclang-rt-14-dev llvm" ;;
    format) packages="$packages clang-format git" ;;
    *) echo "setup.sh: there is no set '$extra'; there are fuzz and format" >&2 && exit 2 ;;
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
$sudo apt-get update -qq
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
