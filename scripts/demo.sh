#!/usr/bin/env bash
# From a clean clone to an answer from documents, saying what it does on the way. The server keeps running until Ctrl-C.
# TESSERA_DEMO_MODEL chooses the language model: smollm2-135m-instruct is smaller, and knows less what to do with documents.
set -euo pipefail
cd "$(dirname "$0")/.."

listen=${TESSERA_LISTEN:-127.0.0.1:8080}
model=${TESSERA_DEMO_MODEL:-qwen2.5-coder-0.5b-instruct}
tessera=${CARGO_TARGET_DIR:-target}/release/tessera
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

say "1/4  The tessera binary (first time 10 to 25 minutes, then seconds)"
cargo build --release --locked
say "2/4  The components, as WebAssembly (first time one to three minutes)"
scripts/components.sh components/*
say "3/4  The models: embeddings, personal data, chat (${model}; once)"
"$tessera" pull all-minilm-l6-v2 rampart-pii "$model"
say "4/4  Serving on http://$listen"
ready=$(mktemp)
trap 'rm -f "$ready"; kill "$server" 2>/dev/null || true' EXIT
"$tessera" serve --listen "$listen" --models "${TESSERA_MODELS:-models}" >"$ready" &
server=$!
until grep -q ready "$ready"; do
  kill -0 "$server" 2>/dev/null || { echo "the server did not start" >&2; exit 1; }
  sleep 0.1
done
cat "$ready"
address=$(grep -o 'http://[^ ]*' "$ready")

scripts/demo.py "$address" "$model"
say "It keeps serving; Ctrl-C ends it."
wait "$server"
