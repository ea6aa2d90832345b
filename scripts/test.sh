#!/usr/bin/env bash
# Everything that CI runs, but the lints: unit tests of host and guests, and the integration tests with real components and
# the real model. The last line counts them all.
set -euo pipefail
cd "$(dirname "$0")/.."

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
export TESSERA_MODELS=${TESSERA_MODELS:-$PWD/models}
echo "== building (first time 10 to 25 minutes, then a minute at most)"
cargo build --release --locked
cargo test --release --locked --no-run
echo "== components and test guests"
scripts/components.sh components/* tests/guests/* tests/hostile
echo "== the models and vocabularies (750 MB, once)"
"$CARGO_TARGET_DIR/release/tessera" pull all-minilm-l6-v2 rampart-pii smollm2-135m-instruct qwen2.5-coder-0.5b-instruct
scripts/vocabularies.sh

log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "== tests of the host"
cargo test --release --locked 2>&1 | tee "$log"
echo "== tests of the SDK and the components"
guests=(components/*/Cargo.toml)
guests=("${guests[@]#components/}")
guests=("${guests[@]%/Cargo.toml}")
cargo test --release --locked -p tessera-sdk "${guests[@]/#/-p}" 2>&1 | tee -a "$log"
awk '/^test result:/ {passed += $4; failed += $6; ignored += $8; if ($3 != "ok.") bad = 1}
     END {printf "test result: %s. %d passed; %d failed; %d ignored\n", bad ? "FAILED" : "ok", passed, failed, ignored; exit bad}' "$log"
