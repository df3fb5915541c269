#!/usr/bin/env bash
# Measures everything that needs a GPU in one call of under ten minutes. The programs are built beforehand,
# since a GPU machine may have PyTorch but no Rust.
#
#     backend-cuda/measure.sh build                      builds the programs into target/gpu; needs Rust
#     backend-cuda/measure.sh REFERENCE_DIR [DATA_DIR]   laws, ratios, stages, accuracies; needs a GPU
#
# REFERENCE_DIR contains bench_reference.py, DATA_DIR fsdd_spikes. PYTHON is an interpreter with torch, dcls
# and spikingjelly. Tables go to standard output, all figures as JSON lines to OUT (target/gpu). ROWS, SEEDS
# and REPEATS reduce the work.
set -euo pipefail
cd "$(dirname "$0")/.."
built=${CARGO_TARGET_DIR:-target}
programs=target/gpu
if [ "${1:-}" = build ]; then
    mkdir -p "$programs"
    cargo build --release --locked -p polychron --features cuda
    cp "$built/release/polychron" "$programs/"
    cargo test --release --locked -p polychron-cuda --test laws --no-run --message-format json |
        python3 -c 'import json, sys
for line in sys.stdin:
    found = json.loads(line)
    if found.get("executable") and found["target"]["name"] == "laws": print(found["executable"])' |
        xargs -I{} cp {} "$programs/laws"
    strip "$programs/polychron" "$programs/laws"
    exit
fi
reference=$(realpath "$1")/bench_reference.py
data=${2:-}
out=${OUT:-$programs}
mkdir -p "$out"
export PYTHON=${PYTHON:-python3} REPEATS=${REPEATS:-20} REQUIRE_DEVICE=1
export ROWS=${ROWS:-"shd ssc 1ms-65 1ms-257 1ms-513"} SEEDS=${SEEDS:-"0 1 2 3 4"}

# The first run makes the driver compile the kernels.
export CUDA_CACHE_PATH=${CUDA_CACHE_PATH:-$(realpath "$out")/cache}
"$programs/laws" conformance::device::conformance_f32::layer_forward > "$out/laws.log" 2>&1 || true

echo "== laws"
failed=0
"$programs/laws" device >> "$out/laws.log" 2>&1 || failed=1
grep -E "^test .* FAILED|^test result|error .* allowed" "$out/laws.log" || true

echo "== ceilings, ratios, stages, scaling"
"$PYTHON" - "$reference" "$programs/polychron" "$out/steps.jsonl" <<'PY'
import json, os, statistics, subprocess, sys, time

script, binary, log = sys.argv[1:]
python, repeats = os.environ["PYTHON"], os.environ["REPEATS"]
import torch

def ceiling(work, amount):
    """The best of ten, per second."""
    for _ in range(3):
        work()
    best = float("inf")
    for _ in range(10):
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return amount / best

torch.backends.cuda.matmul.allow_tf32 = False
source = torch.randn(1 << 28, device="cuda")
target = torch.empty_like(source)
copy = ceiling(lambda: target.copy_(source), 2 * source.numel() * 4)
square = torch.randn(8192, 8192, device="cuda")
product = ceiling(lambda: square @ square, 2 * 8192**3)
del source, target, square
torch.cuda.empty_cache()
print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}: copy {copy / 1e9:.0f} GB/s, f32 product {product / 1e12:.1f} TFLOP/s\n")

def run(side, row, command):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        print(f"{row}: {' '.join(command)} failed", flush=True)
        return None
    found = json.loads(done.stdout.splitlines()[-1])
    with open(log, "a") as file:
        print(json.dumps({"row": row, "side": side, "copy": copy, "product": product, "result": found}), file=file)
    return found

def ours(row, *options):
    return run("ours", row, [binary, "bench", "step", "--backend", "cuda", "--json", "--repeats", repeats, *options])

shapes = {
    "shd": (["--net", "shd"], ["--net", "shd"]),
    "ssc": (["--net", "ssc"], ["--net", "ssc"]),
}
for taps in (65, 257, 513):
    shapes[f"1ms-{taps}"] = (
        ["--net", "shd", "--T", "1000", "--K", str(taps), "--batch", "128"],
        ["--net", "shd", "--dt-ms", "1", "--max-delay", str(taps - 1), "--batch", "128"],
    )

# By default torch lets cuDNN round to TF32; the reference keeps this faster setting.
print(f"cudnn TF32: {torch.backends.cudnn.allow_tf32}\n")
print("| step | reference, input resident, ms | ours, ms | ours, input resident, ms | ratio | ratio, resident | reference, MiB | ours, MiB | ratio |")
print("|---|---|---|---|---|---|---|---|---|", flush=True)
stages = {}
for row in os.environ["ROWS"].split():
    theirs, mine = shapes[row]
    steps = ["--steps", "10" if row in ("shd", "ssc") else "3"]
    found, other = ours(row, *mine), run("reference", row, [python, script, *theirs, *steps, "--device", "cuda", "--unbind"])
    if not found:
        continue
    stages[row] = found
    if not other:
        print(f"| {row} | failed | {found['total_ms']:.2f} | {found['resident_ms']:.2f} | | | | {found['device_mib']:.0f} | |", flush=True)
        continue
    reference = other["total_s"]["median"] * 1e3
    print(f"| {row} | {reference:.1f} | {found['total_ms']:.2f} | {found['resident_ms']:.2f} | {reference / found['total_ms']:.1f} | {reference / found['resident_ms']:.1f} "
          f"| {other['gpu_peak_MiB']} | {found['device_mib']:.0f} | {other['gpu_peak_MiB'] / found['device_mib']:.1f} |", flush=True)

print("\nStages, each waited for; floor: bytes over the copy's rate or operations over the product's, whichever is longer\n")
print("| step | stage | ms | floor, ms |\n|---|---|---|---|")
for row, found in stages.items():
    for stage, ms in found["stages"].items():
        rate = found["rates"].get(stage)
        floor = max(rate["gflops"] * 1e9 / product, rate["gbytes_per_s"] * 1e9 / copy) * ms if rate else None
        print(f"| {row} | {stage} | {ms:.3f} | {'' if floor is None else f'{floor:.3f}'} |")

print("\n| SHD step, resident | ms |\n|---|---|", flush=True)
for option, values in {"--max-delay": (8, 24, 48, 96), "--steps": (50, 100, 200, 400), "--batch": (32, 128, 256, 512)}.items():
    for value in values:
        found = ours(f"scaling {option} {value}", "--net", "shd", option, str(value))
        print(f"| {option} {value} | {found['resident_ms']:.2f} |" if found else f"| {option} {value} | failed |", flush=True)
PY

echo "== accuracies"
presets=digits
[ -z "$data" ] || presets="digits fsdd"
for preset in $presets; do
    for seed in $SEEDS; do
        rm -rf "$out/$preset-$seed"
        "$programs/polychron" train --backend cuda --preset "$preset" --seed "$seed" --json \
            --out "$out/$preset-$seed" ${data:+--data "$data"} 2>> "$out/train.log" | tee -a "$out/train.jsonl" |
            "$PYTHON" -c 'import json, sys
found = json.loads(sys.stdin.read().splitlines()[-1])
print(found["preset"], "seed", found["seed"], "test", found["test_accuracy"], "in", round(found["seconds"], 1), "s")'
    done
done

[ "$failed" = 0 ] || echo "some laws failed: $out/laws.log" >&2
exit "$failed"
