#!/usr/bin/env bash
# Plugins of every language and template, from nothing to their first answer, by the commands of the authors' guide:
#
#   scripts/plugins.sh                     all of them
#   scripts/plugins.sh js python           of these languages
#   scripts/plugins.sh js:tool rust:guard  these
#
# Needs node 18, python 3.11 and what builds Rust components; npm and pip fetch the two tools once. Prints a table: size of the
# component, time to build it (the second build, with all tools there), time of the first call and of a later one.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(realpath "${CARGO_TARGET_DIR:-target}")
tessera=$target/release/tessera
export CARGO_TARGET_DIR=$target/guests
lock=$PWD/Cargo.lock
work=$(mktemp -d)
pid=
trap 'kill $pid 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"

say() { echo "== $*" >&2; }
now_ms() { date +%s%3N; }
ask() { # PATH BODY: milliseconds of an answer that must be good
  curl -s -o answer -w '%{http_code} %{time_total}' -H 'content-type: application/json' "$address$1" -d "$2" |
    awk '$1 != 200 {exit 1} {printf "%.1f", $2 * 1000}' || { echo "no good answer: $(cat answer)" >&2; return 1; }
}
request() { # TEMPLATE: path and body of a call
  case $1 in
    service) echo '/similarity {"a":"rivers","b":"lakes"}' ;;
    guard) echo '/check {"text":"write to ada@example.org"}' ;;
    tool) echo '/texts/count {"text":"two words"}' ;;
    pipeline) echo '/answer {"question":"what do cats eat","documents":["cats eat fish","the sea is salt"]}' ;;
  esac
}
one() { # LANGUAGE TEMPLATE
  local name=$1-$2 begin built first warm path body
  say "$name"
  "$tessera" new "$name" --lang "$1" --template "$2" >&2
  # The versions of the repository, so that what is there already is used.
  [ "$1" != rust ] || cp "$lock" "$name/Cargo.lock"
  (cd "$name" && "$tessera" build && "$tessera" check && "$tessera" test) >&2
  touch "$name"/src/*
  begin=$(now_ms)
  (cd "$name" && "$tessera" build) >&2
  built=$(($(now_ms) - begin))
  "$tessera" dev "$name" --listen 127.0.0.1:0 >served 2>served.log &
  pid=$!
  for _ in $(seq 1200); do
    grep -q 'is served on' served && break
    sleep 0.1
  done
  address=$(grep -o 'http://[^ ]*' served)
  read -r path body < <(request "$2")
  first=$(ask "$path" "$body")
  for _ in $(seq 20); do warm=$(ask "$path" "$body"); done
  kill $pid
  wait $pid 2>/dev/null || true
  printf '| %s | %s | %.1f | %.1f | %s | %s |\n' "$1" "$2" \
    "$(stat -c %s "$name/component.wasm" | awk '{print $1 / 1e6}')" "$(awk "BEGIN {print $built / 1000}")" "$first" "$warm" >>table
}

[ $# -gt 0 ] || set -- rust js python
for wanted in "$@"; do
  templates=${wanted#*:}
  [[ $wanted == *:* ]] || templates="service guard tool pipeline"
  for template in $templates; do one "${wanted%%:*}" "$template"; done
done
echo '| language | template | size, MB | build, s | first call, ms | later call, ms |'
echo '|---|---|---|---|---|---|'
cat table
