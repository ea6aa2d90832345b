#!/usr/bin/env bash
# Tokens of a real OpenID provider, npm's `oidc-provider`, against a running server: good, expired, for others, forged, and after
# the provider has changed its keys. Needs node 20 and npm; `make build` and the guests have to be there.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
tessera=$target/release/tessera
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT

mkdir -p "$target/oidc"
cp tests/oidc/*.mjs tests/oidc/package.json "$target/oidc/"
(cd "$target/oidc" && npm install --silent --no-audit --no-fund)
free_port() { node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })'; }
tokens() { node "$target/oidc/tokens.mjs" "$@"; }
wait_for() { # FILE: until it says that it is ready
  for _ in $(seq 300); do
    grep -q ready "$1" && return
    sleep 0.1
  done
  echo "not ready after 30 seconds: $(cat "$1")" >&2
  exit 1
}

port=$(free_port)
provide() { # NAME: starts the provider with keys of this name
  tokens keys "$1" >"$work/$1.json"
  node "$target/oidc/provider.mjs" "$port" "$work/$1.json" >"$work/$1.log" 2>&1 &
  provider=$!
  pids+=("$provider")
  wait_for "$work/$1.log"
}
token() { # AUDIENCE: a token of the provider
  curl -sf "http://127.0.0.1:$port/token" -d grant_type=client_credentials -d client_id=robot \
    --data-urlencode 'client_secret=a secret that only this test knows' --data-urlencode "resource=urn:$1" -d scope=use |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["access_token"])'
}

provide first
mkdir -p "$work/components" "$work/policies/tenants"
cp -r tests/guests/echo "$work/components/"
cp policies/default.toml "$work/policies/"
printf 'schema = 1\ncomponents = ["echo"]\n' >"$work/policies/tenants/acme.toml"
cat >"$work/tessera.toml" <<END
listen = "127.0.0.1:0"
components = "$work/components"
policies = "$work/policies"
models = "$work/models"
data = "$work/data"

[auth]
mode = "required"

[[auth.oidc]]
issuer = "http://127.0.0.1:$port"
audience = "tessera"
END
mkdir "$work/models"
"$tessera" serve --config "$work/tessera.toml" >"$work/server.log" 2>"$work/server.err" &
pids+=("$!")
wait_for "$work/server.log"
address=$(grep -o 'http://[^ ]*' "$work/server.log")

failed=0
expect() { # STATUS WHAT [TOKEN] [PATH]: asks and compares
  local status
  status=$(curl -s -o "$work/answer" -w '%{http_code}' ${3:+-H "authorization: Bearer $3"} "$address${4:-/c/echo/hello}")
  if [ "$status" = "$1" ]; then
    printf 'ok   %s  %s\n' "$status" "$2"
  else
    printf 'BAD  %s instead of %s  %s: %s\n' "$status" "$1" "$2" "$(cat "$work/answer")"
    failed=1
  fi
}

good=$(token tessera)
expect 401 "no token"
expect 200 "a token of the provider" "$good"
expect 200 "the same again" "$good"
expect 403 "it is no operator's" "$good" /metrics
expect 401 "a token for another audience" "$(token other)"
for what in expired none hmac altered; do
  expect 401 "$what" "$(tokens forge "$work/first.json" "$good" "$what")"
done
kill "$provider" && wait "$provider" 2>/dev/null || true
expect 200 "the provider is away, and the token is known" "$good"
provide second
expect 200 "a token with the provider's new key" "$(token tessera)"
expect 401 "a token with the key that it has no more" "$good"
exit "$failed"
