#!/usr/bin/env bash
# Builds the images for three processors, runs them in QEMU and prints one line of JSON for each. Needs Debian, and root to install
# missing packages.
#
#     examples/firmware/run.sh [--check | --update]
#
# --check fails if a figure grew by more than 2 % over the committed sizes.tsv; --update replaces sizes.tsv.
#
# Every run fails unless each decision and each membrane equals that of the host, an image without a panic links, and an image
# with a panic does not link. QEMU counts instructions, not cycles. It has no machine with a Cortex-M0+ and enough flash, so the
# code for it runs on a Cortex-M3, which executes the same instructions.
#
# FIRMWARE_MODELS names a folder of models from an earlier run, which are not written again then.
set -euo pipefail
cd "$(dirname "$0")"
target_dir=${CARGO_TARGET_DIR:-$PWD/target}
work=$target_dir/work
mkdir -p "$work"

packages=()
need() { [ -e "$1" ] || packages+=("${@:2}"); }
need /usr/bin/cargo cargo-web
need /usr/bin/rustc rustc-web
need /usr/lib/rustlib/src/rust/library/core/Cargo.toml rust-web-src
need /usr/bin/qemu-system-arm qemu-system-arm
need /usr/bin/qemu-system-riscv32 qemu-system-misc
need /usr/bin/ld.lld-19 lld-19
need /usr/bin/llvm-size-19 llvm-19
need /usr/bin/cc gcc libc6-dev
if [ ${#packages[@]} -gt 0 ]; then
    apt-get update -qq && apt-get -o DPkg::Lock::Timeout=400 install -y -qq --no-install-recommends "${packages[@]}"
fi >"$work/install.log" 2>&1 || { cat "$work/install.log" >&2; exit 1; }

cc -O2 -Wall -shared -fPIC -o "$work/count.so" count.c
if [ -z "${FIRMWARE_MODELS:-}" ]; then
    export FIRMWARE_MODELS=$work/models
    (cd ../.. && command cargo run --quiet --release --locked -p polychron-core --features alloc --example firmware_models -- "$FIRMWARE_MODELS")
fi

cargo() { # subcommand target opt-level arguments...
    local profile=release
    [ "$3" = 3 ] && profile=speed
    env -u RUSTFLAGS CARGO_TARGET_DIR=$target_dir RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc /usr/bin/cargo "$1" --quiet --locked -Zbuild-std=core \
        --target "$2" --profile $profile "${@:4}" 2>"$work/$2.$3.log"
}

image() { # target opt-level name
    local profile=release
    [ "$2" = 3 ] && profile=speed
    echo "$target_dir/$1/$profile/$3"
}

run() { # target image
    local machine=(qemu-system-arm -machine mps2-an386)
    case $1 in
    thumbv6m*) machine=(qemu-system-arm -machine mps2-an385) ;;
    riscv32*) machine=(qemu-system-riscv32 -machine virt -cpu rv32 -bios none) ;;
    esac
    timeout 600 "${machine[@]}" -nographic -monitor none -serial null -semihosting-config enable=on,target=native \
        -plugin "$work/count.so" -kernel "$2" </dev/null 2>&1
}

measure() { # target opt-level
    local target=$1 opt=$2 log=$work/$1.$2.log status=0 name
    panic_free() { cargo "$1" $target $opt --no-default-features --bin panic_free "${@:2}"; }
    cargo build $target $opt --features measure --bin digits --bin measure || { cat "$log" >&2; return 1; }
    if panic_free build --features control; then
        echo "$target, opt-level $opt: an image with a panic links, so the link of one without proves nothing" >&2
        status=1
    elif ! grep -q a_panic_is_reachable "$log"; then
        cat "$log" >&2
        return 1
    fi
    if ! panic_free build --features whole; then
        panic_free rustc --features whole -- -C link-arg=--unresolved-symbols=ignore-all
        echo "$target, opt-level $opt: a panic is reachable from" >&2
        llvm-objdump-19 -d -C "$(image $target $opt panic_free)" |
            awk '/^[0-9a-f]+ </ { caller = $0 } /<core::.*(panick|_fail)/ && $0 != caller { print "    " caller }' | sort -u >&2
        status=1
    fi
    panic_free build || { cat "$log" >&2; return 1; }
    llvm-size-19 -A "$(image $target $opt panic_free)" | awk '
        $1 ~ /^\.(vector_table|text|init|trap)/ { text += $2 }
        $1 ~ /^\.(rodata|data|eh_frame)/ { rodata += $2 }
        $1 ~ /^\.(data|bss)/ { static += $2 }
        END { print "size", text, rodata, static }' >"$work/$target.$opt" || return 1
    for name in digits measure; do
        run $target "$(image $target $opt $name)" >"$work/$target.$opt.$name" || { cat "$work/$target.$opt.$name" >&2; return 1; }
        cat "$work/$target.$opt.$name" >>"$work/$target.$opt"
    done
    return $status
}

: >"$work/now"
status=0
for target in thumbv7em-none-eabihf thumbv6m-none-eabi riscv32imc-unknown-none-elf; do
    # The profiles have folders of their own, so that both build at once.
    measure $target s &
    measure $target 3 || status=1
    wait $! || status=1
    awk -v target=$target -v now="$work/now" -f report.awk "$work/$target.s" "$work/$target.3" || status=1
done

committed=sizes.tsv
case ${1:-} in
--update) { printf '# target\topt-level\tfigure\tvalue, %s\n' "$(/usr/bin/rustc --version)"; cat "$work/now"; } >$committed ;;
--check)
    awk -F'\t' '
        /^#/ { next }
        FILENAME == ARGV[1] { value[$1, $2, $3] = $4; next }
        !(($1, $2, $3) in value) { print $1, $2, $3 " is not in " ARGV[1]; failed = 1; next }
        $4 > 1.02 * value[$1, $2, $3] {
            printf "%s, opt-level %s: %s grew from %s to %s\n", $1, $2, $3, value[$1, $2, $3], $4
            failed = 1
        }
        END { exit failed }' $committed "$work/now" >&2 || status=1
    ;;
esac
exit $status
