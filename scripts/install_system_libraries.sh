#!/bin/sh
# Install what Qt, OpenGL and a virtual screen need on Debian and Ubuntu, as far as it is missing.
set -eu

command -v apt-get >/dev/null || exit 0

# libgl1-mesa-dri draws without a graphics card; the libxcb ones are Qt's own list for X11.
wanted="xvfb xauth libgl1 libegl1 libgl1-mesa-dri libopengl0 libdbus-1-3 libfontconfig1 libxkbcommon-x11-0
libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0
libxcb-xinerama0 libxcb-xkb1 fonts-dejavu-core"
${PYTHON:-python3} -c 'import ensurepip' 2>/dev/null || wanted="$wanted python3-venv"

missing=""
for package in $wanted; do
    dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

root=""
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "As an administrator, run: apt-get install$missing" >&2
        exit 1
    fi
    root="sudo"
fi
echo "Installing:$missing"
$root apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive $root apt-get install -y -qq --no-install-recommends $missing >/dev/null
