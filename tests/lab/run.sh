#!/usr/bin/env bash
# Real Picamera2 on real libcamera, without hardware: builds a Debian tree once (4 minutes, 1.3 GB), then runs the
# scenario in it, on this machine's kernel.
#
#   LAB_HOME      where the tree is kept; ~/.cache/ezrec-lab
#   LAB_SNAPSHOT  set it where the Debian mirror is a snapshot of the past: its lists have expired, their signature still
#                 counts
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
project=$(cd "$here/../.." && pwd)
home=${LAB_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/ezrec-lab}
tree=$home/tree
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 2>/dev/null | grep -v -- -security | head -n 1 || true)  # as this machine has it
packages=python3,python3-venv,python3-pip,python3-libcamera,libcamera-ipa,libcamera-tools,python3-numpy,python3-pil
packages+=,python3-piexif,python3-prctl,python3-av,python3-tqdm,python3-jsonschema,gcc,libc6-dev,python3-dev,ca-certificates
picamera2=0.3.38

give_up() { echo "lab: $1" >&2; exit 1; }

[ "$(id -u)" = 0 ] || give_up "only root can enter a tree of its own"
unshare -m true 2>/dev/null || give_up "this machine allows no mount namespaces (unshare -m)"

enter() {  # runs a command inside the tree, with the project at /project
    env -u PIP_FIND_LINKS tree=$tree project=$project unshare -m bash -c '
        mount -t proc proc "$tree/proc"
        mount --bind /dev "$tree/dev"
        mkdir -p "$tree/project" && mount --bind "$project" "$tree/project"
        mount --bind /etc/ssl/certs "$tree/etc/ssl/certs"
        exec chroot "$tree" "$@"' -- "$@"
}

stamp=$tree/.lab-$(sed -n '/^packages/p;/^picamera2/p;/wanted=/p' "$0" | cat - "$project/requirements/lock.txt" | sha256sum | cut -c1-12)
if [ ! -e "$stamp" ]; then
    [ -n "$mirror" ] || give_up "no Debian mirror is known here: run apt-get update first"
    command -v mmdebstrap >/dev/null || give_up "mmdebstrap is missing: apt-get install mmdebstrap"
    echo "lab: building $tree"
    mkdir -p "$home"
    if [ ! -e "$tree/usr/bin/python3" ]; then
        rm -rf "$tree"
        mmdebstrap --quiet --mode=root --variant=minbase ${LAB_SNAPSHOT:+"--aptopt=Acquire::Check-Valid-Until \"false\""} \
            --include="$packages" forky "$tree" "$mirror" || give_up \
            "the tree could not be built; if the mirror's lists have expired because it is a snapshot, set LAB_SNAPSHOT=1"
    fi
    cp /etc/resolv.conf "$tree/etc/resolv.conf"
    wanted=$(grep -E '^(aiosqlite|psutil|pydantic|pydantic-settings|python-dotenv|rich|structlog|tomlkit|typer|tzdata|opencv-python-headless)==' \
        "$project/requirements/lock.txt" | tr '\n' ' ')
    enter python3 -m venv --system-site-packages --clear /venv
    # shellcheck disable=SC2086
    enter /venv/bin/pip install --quiet $wanted
    enter /venv/bin/pip install --quiet --no-deps "picamera2==$picamera2" PiDNG videodev2 simplejpeg OpenEXR
    touch "$stamp"
fi
cp "$here/virtual.yaml" "$tree/usr/share/libcamera/pipeline/virtual/virtual.yaml"
enter /usr/bin/env -C /tmp PYTHONDONTWRITEBYTECODE=1 /venv/bin/python /project/tests/lab/scenario.py
