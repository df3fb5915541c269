#!/usr/bin/env bash
# Compiles every kernel to a .ptx file next to its source, with NVIDIA's compiler from PyPI or
# $NVCC, and assembles it for three generations of devices. With --check the files stay unchanged,
# and a difference is an error.
set -euo pipefail
cd "$(dirname "$0")/src"
target="$(cd ../.. && pwd)/target/cuda"
if [ -z "${NVCC:-}" ]; then
    NVCC="$target/nvidia/cu13/bin/nvcc"
    [ -x "$NVCC" ] || python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action ignore --target "$target" \
        nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85
fi
sources() { cat ./*.h "$(dirname "$1")"/*.h "$1" 2>/dev/null; }
made="$(mktemp)"
trap 'rm -f "$made"' EXIT
for kernel in */*.cu; do
    ptx="${kernel%.cu}.ptx"
    printf '// %s  sha256 of ./*.h, the folder'"'"'s *.h and the kernel\n' "$(sources "$kernel" | sha256sum | cut -d' ' -f1)" > "$made"
    "$NVCC" -std=c++17 -ptx -arch=compute_75 -o - "$kernel" >> "$made"
    if [ "${1:-}" != --check ]; then
        cp "$made" "$ptx"
    elif ! cmp --silent "$made" "$ptx"; then
        echo "backend-cuda/src/$ptx is out of date with $kernel: run backend-cuda/kernels.sh" >&2
        exit 1
    fi
    for device in 75 90 120; do
        "$(dirname "$NVCC")/ptxas" -arch=sm_$device -o /dev/null "$ptx"
    done
    echo "$ptx"
done
