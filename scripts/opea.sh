#!/usr/bin/env bash
# OPEA's own calls against a server that is started for them, with nothing in its store: in the end they delete all documents.
# What is given goes on to conformance.py. Needs curl; `make build components models` and `make peers` have to be there.
set -euo pipefail
cd "$(dirname "$0")/.."

tessera=${CARGO_TARGET_DIR:-target}/release/tessera
python=${XDG_CACHE_HOME:-$HOME/.cache}/tessera/peers/bin/python
[ -x "$python" ] || { echo "the openai package is not there: run \`make peers\` first" >&2; exit 1; }

work=$(mktemp -d)
server=
stop() { [ -z "$server" ] || { kill "$server" && wait "$server"; } 2>/dev/null || true; rm -rf "$work"; }
trap stop EXIT
cat >"$work/tessera.toml" <<END
listen = "127.0.0.1:0"
components = "$PWD/components"
policies = "$PWD/policies"
models = "${TESSERA_MODELS:-$PWD/models}"
data = "$work/data"
END
"$tessera" serve --config "$work/tessera.toml" >"$work/server.log" 2>"$work/server.err" &
server=$!
until grep -q ready "$work/server.log"; do
  kill -0 "$server" 2>/dev/null || { cat "$work/server.err" >&2; exit 1; }
  sleep 0.1
done
"$python" scripts/conformance.py "$(grep -o 'http://[^ ]*' "$work/server.log")" "$@"
