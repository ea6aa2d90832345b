#!/bin/sh
# Makes the peers that benches measure beside: torch, ONNX Runtime and indexes of vectors in a Python environment, OPEA's
# core library in another, and llama.cpp built for this machine. Takes 10 to 30 minutes and several GB; a second run only
# checks. `setup.sh llama.cpp` makes only llama.cpp, `setup.sh opea` only the environment of OPEA's library.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
peers="${XDG_CACHE_HOME:-$HOME/.cache}/tessera/peers"
pip="$peers/bin/python -m pip"

python_peers() {
    $pip install --quiet --requirement "$here/requirements.txt"
}

opea() {
    [ -x "$peers-opea/bin/python" ] || python3 -m venv "$peers-opea"
    "$peers-opea/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$here/opea.txt"
}

llama_cpp() {
    root="$peers/llama.cpp"
    [ -f "$root/source/PKG-INFO" ] || unpack_llama_cpp
    $pip install --quiet $(grep -E '^(cmake|ninja)==' "$here/requirements.txt")
    PATH="$peers/bin:$PATH"
    [ -f "$root/build/build.ninja" ] || cmake -G Ninja -S "$root/source/vendor/llama.cpp" -B "$root/build" \
        -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_SERVER=OFF \
        -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF
    cmake --build "$root/build" --target llama-bench
}

unpack_llama_cpp() {
    rm -rf "$root" && mkdir -p "$root/download" "$root/unpacked"
    $pip download --quiet --no-deps --no-binary llama-cpp-python --require-hashes --requirement "$here/llama.txt" \
        --dest "$root/download"
    tar -xzf "$root/download"/*.tar.gz -C "$root/unpacked" --strip-components=1
    # GCC 12 believes that this instruction reads 8 of its 64 bytes, and leaves the stores to the others out: with
    # AMX, llama.cpp would crash. Here the whole of it is seen to be used.
    sed -i 's|^    _tile_loadconfig(&tc);|    __asm__ volatile("" :: "r"(\&tc) : "memory");\n&|' \
        "$root/unpacked/vendor/llama.cpp/ggml/src/ggml-cpu/amx/mmq.cpp"
    mv "$root/unpacked" "$root/source"
    rm -r "$root/download"
}

[ -x "$peers/bin/python" ] || python3 -m venv "$peers"
case "${1:-all}" in
    all)
        python_peers
        llama_cpp
        opea
        ;;
    llama.cpp) llama_cpp ;;
    opea) opea ;;
    *)
        echo "usage: setup.sh [llama.cpp | opea]" >&2
        exit 2
        ;;
esac
echo "the peers are in $peers"
