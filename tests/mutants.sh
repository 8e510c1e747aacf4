#!/usr/bin/env bash
# Mutation testing of the backward passes: changes them one operator, condition or result at a time
# (.cargo/mutants.toml says which functions), and asks each time whether the tests notice.
#
#   cargo install cargo-mutants --version 27.1.0 --locked
#   tests/mutants.sh                       # all of it, or what is left of an interrupted run
#   tests/mutants.sh --jobs 2              # options go to the tool
#   tests/mutants.sh --in-diff my.diff     # only what this diff touches
#
# Fails when a mutant is missed: it needs a test, or simpler code, or, when it is proven to change
# nothing, a line with the proof in `exclude_re` of .cargo/mutants.toml.
#
# Takes 15 minutes on an idle machine of 2 cores (Intel Xeon, AVX-512).
set -euo pipefail
cd "$(dirname "$0")/.."

# The tool works in a copy of the tree, which must not share its build with the tree.
unset CARGO_TARGET_DIR

# Results are kept for each state of the sources apart, so that none is of other code.
state=$(find Cargo.* .cargo crates -type f -print0 | LC_ALL=C sort -z | xargs -0 cat | sha256sum)
results="target/mutation/${state:0:12}"
mkdir -p "$results"

# Each start of the tool begins new lists, without what those before it have settled.
keep() {
    for list in caught unviable; do
        if [[ -e $results/mutants.out/$list.txt ]]; then
            cat "$results/mutants.out/$list.txt" >> "$results/$list"
            sort -u "$results/$list" -o "$results/$list"
        fi
    done
}
trap keep EXIT
keep

status=0
cargo mutants --workspace --iterate --output "$results" "$@" || status=$?
# 2: some are missed; 3: some tests ran into the timeout, which is a way to notice.
case $status in 0 | 2 | 3) ;; *) exit "$status" ;; esac
keep

count() { wc -l < "$1"; }
printf '%d caught, %d by a timeout, %d do not build, %d missed\n' \
    "$(count "$results/caught")" "$(count "$results/mutants.out/timeout.txt")" \
    "$(count "$results/unviable")" "$(count "$results/mutants.out/missed.txt")"
if [[ -s $results/mutants.out/missed.txt ]]; then
    cat "$results/mutants.out/missed.txt"
    exit 1
fi
