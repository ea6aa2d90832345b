#!/usr/bin/env bash
# From a clean clone to a served answer, saying what it does on the way. The server keeps running until Ctrl-C.
set -euo pipefail
cd "$(dirname "$0")/.."

listen=${TESSERA_LISTEN:-127.0.0.1:8080}
tessera=${CARGO_TARGET_DIR:-target}/release/tessera
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

say "1/4  The tessera binary (first time 10 to 25 minutes, then seconds)"
cargo build --release --locked
say "2/4  The components, as WebAssembly (first time one to three minutes)"
scripts/components.sh components/*
say "3/4  The models: embeddings and chat (180 MB, once)"
"$tessera" pull all-minilm-l6-v2 smollm2-135m-instruct
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

ask=(curl -s "$address/v1/embeddings" -H 'content-type: application/json' -d '{"input": "The quick brown fox", "model": "all-minilm-l6-v2"}')
say "An answer:"
printf "curl -s %s/v1/embeddings -H 'content-type: application/json' \\\\\n  -d '%s'\n\n" "$address" '{"input": "The quick brown fox", "model": "all-minilm-l6-v2"}'
answer=$("${ask[@]}")
printf '%.300s …\n' "$answer"
printf '… %s\n' "$(grep -o '"usage".*' <<<"$answer")"
body='{"model": "smollm2-135m-instruct", "stream": true, "temperature": 0, "max_tokens": 64,
       "messages": [{"role": "user", "content": "What is the capital of France, and what is it known for?"}]}'
say "A chat, streamed:"
printf "curl -sN %s/v1/chat/completions -H 'content-type: application/json' \\\\\n  -d '%s'\n\n" "$address" "$body"
curl -sN "$address/v1/chat/completions" -H 'content-type: application/json' -d "$body" |
  python3 -uc '
import json, sys
for line in sys.stdin:
    if line.startswith("data: {"):
        for choice in json.loads(line[6:])["choices"]:
            print(choice["delta"].get("content") or "", end="", flush=True)
print()'
say "It keeps serving; Ctrl-C ends it."
wait "$server"
