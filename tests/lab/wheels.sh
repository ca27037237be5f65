#!/usr/bin/env bash
# Asks pip whether all dependencies come as wheels for a Raspberry Pi (aarch64) on the Pythons of bookworm and trixie,
# beside what these systems bring: nothing may have to be built on a device. Nothing is installed.
#
#   PIP  a pip to ask with; the one of .venv
set -euo pipefail

project=$(cd "$(dirname "$0")/../.." && pwd)
pip=${PIP:-$project/.venv/bin/pip}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$project/.venv/bin/python" - "$project/pyproject.toml" > "$scratch/wanted.txt" <<'PY'
import sys, tomllib
print(*tomllib.load(open(sys.argv[1], "rb"))["project"]["dependencies"], sep="\n")
PY

ask() {  # name, Python, what the system brings
    printf '%s\n' "${@:3}" > "$scratch/constraints.txt"
    "$pip" install --quiet --dry-run --ignore-installed --only-binary=:all: --target "$scratch/none" --python-version "$2" \
        --implementation cp --platform manylinux2014_aarch64 --platform manylinux_2_17_aarch64 \
        --platform manylinux_2_28_aarch64 --constraint "$scratch/constraints.txt" --requirement "$scratch/wanted.txt"
    echo "wheels: $1, Python $2, ${*:3}: all there"
}

# bookworm's own PyAV (10) is too old, and an installation there is refused: the oldest that is not is asked for.
ask bookworm 3.11 numpy==1.24.2 'av>=12,<13'
ask trixie 3.13 numpy==2.2.4 av==14.2.0
