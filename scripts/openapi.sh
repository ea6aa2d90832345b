#!/usr/bin/env bash
# The descriptions of a running server, checked by programs of others: `openapi-spec-validator` reads them, and `schemathesis` calls
# every function that they describe with arguments that fit and with some that don't. Needs python 3.10; `make build` and the guests
# have to be there.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
tools=${XDG_CACHE_HOME:-$HOME/.cache}/tessera/openapi
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT

[ -x "$tools/bin/python" ] || python3 -m venv "$tools"
"$tools/bin/pip" install --quiet 'openapi-spec-validator==0.9.0' 'schemathesis==4.32.5'

mkdir -p "$work/components" "$work/policies" "$work/models"
cp -r tests/guests/types tests/guests/echo "$work/components/"
cp policies/default.toml "$work/policies/"
# What runs on and on does so for a second; it is left out below, as its answer is 504.
printf 'schema = 1\n[limits]\ncpu_ms_max = 1000\n' >"$work/policies/types.toml"
"$target/release/tessera" serve --listen 127.0.0.1:0 --components "$work/components" --policies "$work/policies" \
  --models "$work/models" --data "$work/data" >"$work/server.log" 2>"$work/server.err" &
pids+=("$!")
for _ in $(seq 300); do
  grep -q ready "$work/server.log" && break
  sleep 0.1
done
address=$(grep -o 'http://[^ ]*' "$work/server.log") || { cat "$work/server.err" >&2; exit 1; }

for path in /openapi.json /c/types/openapi.json; do
  curl -sf "$address$path" -o "$work/description.json"
  "$tools/bin/openapi-spec-validator" --schema 3.1 "$work/description.json"
done

# Left out are functions whose answers are no good ones by design (`fall` traps, `spin` runs on and on, `fail`, `divide` and
# `is-good` return errors, `story` breaks off when asked to) or as long as one asks for; and `pair`, as a tuple that stands in an
# answer is rewritten by schemathesis to what its own check refuses. `all` has one, too.
cd "$work" # it leaves a folder where it runs
"$tools/bin/schemathesis" run "$address/c/types/openapi.json" --url "$address" --no-color \
  --exclude-path-regex '/(fall|spin|fail|story|divide|is-good|pair|long-text|lists|count|attempt)$' \
  --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,negative_data_rejection,positive_data_acceptance,unsupported_method \
  --max-examples "${EXAMPLES:-50}" --seed 7 --generation-database none
