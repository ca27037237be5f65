#!/usr/bin/env bash
# The cameras' tests and one film with every combination of versions that is said to work: Picamera2, PyAV, Python.
#
#   LAB_HOME   where the environments are kept; ~/.cache/ezrec-lab
#   PYTHONS    interpreters to try, those that are there; python3.11 python3.13
set -euo pipefail

project=$(cd "$(dirname "$0")/../.." && pwd)
home=${LAB_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/ezrec-lab}/versions
film=tests/whole/test_pi_cameras.py::test_a_film_of_both_cameras_loses_no_frame_and_begins_with_its_window
newest=$(sed -n 's/^av==//p' "$project/requirements/lock.txt")
cd "$project"

for python in ${PYTHONS:-python3.11 python3.13}; do
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || { echo "$python is not here"; continue; }
    venv=$home/$version
    if [ ! -e "$venv/.ready" ]; then
        "$python" -m venv --clear "$venv"
        "$venv/bin/pip" install --quiet --requirement requirements/lock.txt
        "$venv/bin/pip" install --quiet --no-deps --requirement requirements/servers.txt --requirement requirements/picamera2.txt
        touch "$venv/.ready"
    fi
    for picamera2 in 0.3.31 0.3.38; do
        for av in 14.2.0 "$newest"; do
            over=$venv/over-$picamera2-$av  # goes over what the environment holds
            [ -e "$over" ] || "$venv/bin/pip" install --quiet --no-deps --target "$over" "picamera2==$picamera2" "av==$av"
            echo "Python $version, Picamera2 $picamera2, PyAV $av"
            PYTHONPATH="$over" "$venv/bin/python" -m pytest -q -n 2 -p no:cacheprovider \
                tests/adapters/cameras/test_cameras_contract.py tests/adapters/cameras/pi/test_camera.py "$film"
        done
    done
done
