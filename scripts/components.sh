#!/usr/bin/env bash
# Builds WebAssembly components and puts each component.wasm beside its component.toml:
#
#   scripts/components.sh components/* tests/guests/* tests/hostile
#
# They have a target directory of their own, as they are built with another compiler and profile than the host.
set -euo pipefail
cd "$(dirname "$0")/.."

folders=()
packages=()
for folder in "$@"; do
  [ -f "$folder/component.toml" ] && [ -f "$folder/Cargo.toml" ] || continue
  folders+=("$folder")
  packages+=(-p "$(awk -F'"' '/^name *=/ {print $2; exit}' "$folder/Cargo.toml")")
done
[ ${#folders[@]} -gt 0 ] || { echo "no component among: $*" >&2; exit 1; }

target=${CARGO_TARGET_DIR:-target}/guests
toolchain=$(scripts/wasm-target.sh)
cargo "+$toolchain" build --locked --profile guest --target wasm32-wasip2 --target-dir "$target" "${packages[@]}"
for folder in "${folders[@]}"; do
  name=$(awk -F'"' '/^name *=/ {print $2; exit}' "$folder/Cargo.toml")
  built=$target/wasm32-wasip2/guest/${name//-/_}.wasm
  # Only what changed is copied: a server may be watching.
  cmp -s "$built" "$folder/component.wasm" || cp "$built" "$folder/component.wasm"
done
echo "${#folders[@]} components are built"
