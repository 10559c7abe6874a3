#!/bin/sh
# Fetch what a machine with a GPU and no network lacks, into the folder .gpu, which is to be copied there with this
# repository: wheels, and some images for the demo. 35 MiB, about.
# Usage: sh dev/gpu_pack.sh [PYTHON_VERSION]      of that machine. Default: 3.12
set -eu
version=${1:-3.12}
cd "$(dirname "$0")/.."
python=.venv/bin/python
[ -x "$python" ] || { echo 'gpu_pack: first: make setup' >&2; exit 1; }
rm -rf .gpu
mkdir -p .gpu/wheels
pins=$(sed '/^#/d' dev/gpu_wheels.txt)
for pin in $pins; do
    case $pin in
    basicsr==* | future==*)  # no wheels of these: pure Python, so that one made here fits everywhere
        "$python" -m pip wheel -q --no-deps --no-build-isolation -w .gpu/wheels "$pin" ;;
    *)
        platforms=
        for glibc in 2_17 2014 2_27 2_28 2_24 2_31 2_34 2_35; do
            case $glibc in 2014) tag=manylinux2014_x86_64 ;; *) tag=manylinux_${glibc}_x86_64 ;; esac
            platforms="$platforms --platform $tag"
        done
        # shellcheck disable=SC2086
        "$python" -m pip download -q --no-deps --only-binary=:all: --python-version "$version" --implementation cp \
            $platforms -d .gpu/wheels "$pin" ;;
    esac
done
if [ -d datasets/cifar10 ]; then  # a tenth of the images for the demo's training, a tenth to judge by
    (cd datasets && echo cifar10/complete && find cifar10/train -name '*0.png' && find cifar10/test -name '*5.png') | sort > .gpu/list
    tar -C datasets -cf .gpu/cifar10.tar -T .gpu/list
fi
du -sh .gpu
