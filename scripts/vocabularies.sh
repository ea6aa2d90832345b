#!/usr/bin/env bash
# Fetches llama.cpp's vocabularies with their texts and tokens, for the tests of our tokenizers: 14 families, 45 MB on disk.
# They come out of the source package of llama-cpp-python, of which nothing is built or run. Quick when they are there.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.3.36
sha256=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e
families=(bert-bge command-r deepseek-coder deepseek-llm falcon gpt-2 llama-bpe llama-spm mpt phi-3 qwen2 qwen35 refact starcoder)

folder=${TESSERA_VOCABULARIES:-${TESSERA_MODELS:-models}/.vocabularies}
mark=$folder/llama-cpp-python-$version
[ -f "$mark" ] && exit 0
echo "fetching vocabularies (73 MB, once)"
mkdir -p "$folder"
temp=$(mktemp -d "$folder/fetch.XXXXXX")
trap 'rm -rf "$temp"' EXIT
temp=$(cd "$temp" && pwd)

# pip asks a source package's build backend for its name, which would run code of the package: this answers instead.
mkdir -p "$temp/backend/scikit_build_core"
touch "$temp/backend/scikit_build_core/__init__.py"
cat >"$temp/backend/scikit_build_core/build.py" <<PYTHON
import os


def prepare_metadata_for_build_wheel(folder, settings=None):
    name = "llama_cpp_python-$version.dist-info"
    os.mkdir(os.path.join(folder, name))
    with open(os.path.join(folder, name, "METADATA"), "w") as file:
        file.write("Metadata-Version: 2.1\nName: llama-cpp-python\nVersion: $version\n")
    return name
PYTHON
echo "llama-cpp-python==$version --hash=sha256:$sha256" >"$temp/requirements.txt"
(cd "$temp" && PYTHONPATH=$temp/backend TMPDIR=$temp python3 -m pip download --quiet --no-input --disable-pip-version-check \
  --no-deps --no-binary=:all: --no-build-isolation --require-hashes --requirement requirements.txt --dest package)

files=()
for family in "${families[@]}"; do
  for extension in "" .inp .out; do files+=("*/vendor/llama.cpp/models/ggml-vocab-$family.gguf$extension"); done
done
mkdir "$temp/files"
tar --extract --gzip --file "$temp"/package/*.tar.gz --directory "$temp/files" --strip-components=4 --wildcards "${files[@]}"
mv "$temp"/files/* "$folder/"
touch "$mark"
echo "$((${#files[@]} / 3)) vocabularies are in $folder"
