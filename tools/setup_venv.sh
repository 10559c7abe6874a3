#!/bin/sh
# Make a virtual environment with this package and what it needs, in the versions of constraints.txt.
# Usage: sh tools/setup_venv.sh PYTHON FOLDER
set -eu
python=$1
venv=$2
cd "$(dirname "$0")/.."

# BasicSR's build fails on 3.13
"$python" - <<'EOF'
import sys
if not (3, 10) <= sys.version_info[:2] <= (3, 12):
    sys.exit(f'ra_plugin: Python 3.10, 3.11 or 3.12 is needed, this is {sys.version.split()[0]}. '
             'Name another: make PYTHON=python3.12 ...')
EOF

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then  # Debian keeps them in a package of their own
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    echo "The module venv is missing; installing Debian's python$version-venv."
    if [ "$(id -u)" = 0 ]; then root=; else root=sudo; fi
    { $root apt-get update && $root apt-get install -y "python$version-venv"; } ||
        { echo "Install it with: sudo apt-get install python$version-venv" >&2; exit 1; }
fi

# A full disk would be found minutes later, in the middle of an installation. PyTorch for CUDA and what it brings take
# 8 GB, and pip keeps a part of it in the folder for temporary files meanwhile.
[ -d "$venv"/lib/python3.*/site-packages/torch ] || "$python" - "$venv" <<'EOF'
import pathlib
import shutil
import sys
import tempfile

NEEDED_GB = 10
venv = pathlib.Path(sys.argv[1]).absolute()
for place in {next(folder for folder in venv.parents if folder.exists()), pathlib.Path(tempfile.gettempdir())}:
    free_gb = shutil.disk_usage(place).free / 1e9
    if free_gb < NEEDED_GB:
        sys.exit(f'ra_plugin: {NEEDED_GB} GB of free disk are needed to set up; where {place} is, {free_gb:.1f} GB '
                 'are left. Make room there (temporary files: name another folder in TMPDIR).')
EOF
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"

pip() {
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --constraint constraints.txt "$@"
}
echo 'Installing PyTorch (some GB; this takes a few minutes) ...'
pip setuptools wheel cython torch torchvision  # BasicSR's build asks for the first three, too
echo 'Installing BasicSR ...'
pip --no-build-isolation basicsr  # its build asks for torch: isolated, it would install PyTorch once more
echo 'Installing ra_plugin ...'
pip --no-build-isolation -e '.[lint,test]'

# opencv-python, which BasicSR asks for, needs a graphics library that servers lack; the headless build does not
if ! "$venv/bin/python" -c 'import cv2' 2>/dev/null; then
    pip --force-reinstall --no-deps opencv-python-headless
    "$venv/bin/python" -c 'import cv2'
fi
