#!/bin/sh
# Makes the Python environment of the peers that `bench encode` measures beside: torch and ONNX Runtime on the CPU.
# Takes some minutes and several GB; a second run only checks.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
peers="${XDG_CACHE_HOME:-$HOME/.cache}/tessera/peers"
[ -x "$peers/bin/python" ] || python3 -m venv "$peers"
"$peers/bin/python" -m pip install --quiet --requirement "$here/requirements.txt"
echo "the peers are in $peers"
