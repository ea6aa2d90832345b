#!/usr/bin/env bash
# The `mcp` Python package against a running server, with a key for one of two components. `make build` and the guests have to be
# there; the package is installed in an environment of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

package=mcp==2.3.0
tessera=${CARGO_TARGET_DIR:-target}/release/tessera
environment=${XDG_CACHE_HOME:-$HOME/.cache}/tessera/mcp
[ -x "$environment/bin/python" ] || python3 -m venv "$environment"
"$environment/bin/python" -m pip install --quiet --disable-pip-version-check "$package"

work=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
mkdir -p "$work/components" "$work/policies" "$work/models"
cp -r tests/guests/types "$work/components/types"
cp -r tests/guests/types "$work/components/secret"
sed -i 's/^name = .*/name = "secret"/' "$work/components/secret/component.toml"
cp policies/default.toml "$work/policies/"
cat >"$work/tessera.toml" <<END
listen = "127.0.0.1:0"
components = "$work/components"
policies = "$work/policies"
models = "$work/models"
data = "$work/data"

[auth]
mode = "required"
END
key=$("$tessera" key create --config "$work/tessera.toml" --tenant acme --components types | grep -o 'tessera_[A-Za-z0-9_-]*')
"$tessera" serve --config "$work/tessera.toml" >"$work/server.log" 2>"$work/server.err" &
server=$!
for _ in $(seq 600); do
  grep -q ready "$work/server.log" && break
  kill -0 "$server" || { cat "$work/server.err" >&2; exit 1; }
  sleep 0.1
done
address=$(grep -o 'http://[^ ]*' "$work/server.log")
"$environment/bin/python" tests/mcp_client.py "$address" "$key"
