#!/usr/bin/env bash
# Builds the library, links both C programs to its static and its shared form with gcc, and runs them. main.c has to print the same
# as the Rust example `streaming` for every recorded utterance; check.c tests everything else in polychron.h.
set -euo pipefail
cd "$(dirname "$0")"
library=${CARGO_TARGET_DIR:-$PWD/target}/release
streaming=${CARGO_TARGET_DIR:-$PWD/../../target}/release/examples/streaming
data=../firmware/data
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
fail() { echo "$*" >&2; exit 1; }

cargo build --quiet --release --locked
(cd ../.. && cargo build --quiet --release --locked -p polychron-core --features alloc --example streaming)
cc=(gcc -std=c11 -O2 -Wall -Wextra -Werror -Wl,--gc-sections)
for program in main check; do
    "${cc[@]}" -o "$work/$program-static" $program.c "$library/libpolychron.a"
    "${cc[@]}" -o "$work/$program-shared" $program.c -L"$library" -lpolychron -Wl,-rpath,"$library"
done
"${cc[@]}" -DMEMORY=1000 -o "$work/main-small" main.c "$library/libpolychron.a"
nm "$work/check-shared" | grep -q 'U polychron_open' || fail "not linked to the shared library"
if nm "$work/check-static" | grep panic; then fail "a panic is reachable"; fi

# One file of ticks per utterance; core/src/infer/recording.rs describes the layout.
od -An -v -tu1 -w1 $data/utterances.bin | awk -v work="$work" '
    function byte() { getline; return $1 }
    function half(low) { low = byte(); return low + 256 * byte() }
    BEGIN {
        for (left = half(); left > 0; left--) {
            file = sprintf("%s/%03d.ticks", work, ++n)
            ticks = half()
            for (head = 6; head > 0; head--) byte()
            for (; ticks > 0; ticks--) {
                line = ""
                for (spikes = byte(); spikes > 0; spikes--) line = line byte() " "
                print line >file
            }
            close(file)
        }
    }'

utterances=0
for ticks in "$work"/*.ticks; do
    "$streaming" $data/digits.pcn "$ticks" >"$work/expected"
    for form in static shared; do
        "$work/main-$form" $data/digits.pcn <"$ticks" >"$work/printed"
        sed -E 's/  [0-9]+ /  /' "$work/printed" | diff "$work/expected" - || fail "$form, $ticks: the output differs from that of streaming"
    done
    utterances=$((utterances + 1))
done
echo "$utterances utterances give the same output in C and Rust, static and shared; the last one:"
cat "$work/printed"

refused() { # message program arguments...
    if "${@:2}" >/dev/null 2>"$work/printed"; then fail "not refused: ${*:2}"; fi
    [[ $(<"$work/printed") == *"$1" ]] || fail "instead of '$1': $(<"$work/printed")"
    cat "$work/printed"
}
head -c 100000 $data/digits.pcn >"$work/truncated.pcn"
printf '0 1\n2 65000\n' >"$work/beyond"
for form in static shared; do
    refused "error: the model file is invalid at byte 8" "$work/main-$form" "$work/truncated.pcn" /dev/null
    refused "error: line 2: error 5 of polychron.h" "$work/main-$form" $data/digits.pcn "$work/beyond"
    "$work/check-$form" $data/digits.pcn
done
refused "bytes of memory, but there are 1000" "$work/main-small" $data/digits.pcn /dev/null
echo "every error is as polychron.h states"
