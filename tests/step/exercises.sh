#!/usr/bin/env bash
# Writes every exercise, and builds it as it is given, solved, and solved wrongly: the judge must tell
# them apart. The arguments are the program, target/debug/unspool without one, and the exercises, all
# without any.
set -euo pipefail
cd "$(dirname "$0")/../.."

program=$(realpath "${1:-target/debug/unspool}")
solutions=$PWD/crates/step/tests/solutions
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# What they all depend on is built once.
export CARGO_TARGET_DIR=$folder/target

# Runs an exercise; it must end so, and say so.
judge() {
  local name=$1 code=$2 told=$3 found=0
  cargo run --quiet --manifest-path "$folder/$name/Cargo.toml" >"$folder/said" 2>&1 || found=$?
  if [ $found != "$code" ] || ! grep -q "^$told" "$folder/said"; then
    echo "$name: exit $found, not $code with $told" >&2; cat "$folder/said" >&2; exit 1
  fi
}

# Puts lines where the comment says.
fill() { sed -e "/    \/\/ Write it here\./{r $1" -e 'd}' "$folder/given.rs" >"$2"; }

wanted=" ${*:2} "
while read -r name _; do
  if [[ $wanted =~ [^\ ] && $wanted != *" $name "* ]]; then continue; fi
  "$program" --quiet step --exercise "$name" --out "$folder/$name" --unspool .
  # The versions that the project is tested with.
  cp Cargo.lock "$folder/$name/"
  file=$folder/$name/src/exercise.rs
  cp "$file" "$folder/given.rs"
  judge "$name" 1 'NOT YET'
  fill "$solutions/$name.rs" "$file"
  judge "$name" 0 'RIGHT'
  # Wrong: the first gradient that is added is taken away.
  sed '0,/+= /s//-= /' "$solutions/$name.rs" >"$folder/wrong.rs"
  fill "$folder/wrong.rs" "$file"
  judge "$name" 1 'WRONG'
  echo "$name: given, solved and wrong are told apart"
done < <("$program" step --exercise list)
