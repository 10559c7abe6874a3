#!/bin/sh
# Check and measure this repository on a GPU: see dev/gpu_check.py. Needs PyTorch for CUDA; what else is missing comes
# from .gpu (dev/gpu_pack.sh), without a network.
# Usage: sh dev/gpu_check.sh FOLDER [--dry] [--only PART ...]
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
if [ -x .venv/bin/python ]; then
    python=.venv/bin/python
elif [ -d .gpu/wheels ]; then
    site=$(mktemp -d)
    "$python" -m pip install -q --disable-pip-version-check --no-index --no-deps --no-compile --target "$site" .gpu/wheels/*.whl
    export PYTHONPATH="$site"
fi
if [ -f .gpu/cifar10.tar ] && [ ! -e datasets/cifar10 ]; then
    mkdir -p datasets
    tar -C datasets -xf .gpu/cifar10.tar
fi
exec "$python" dev/gpu_check.py "$@"
