#!/usr/bin/env bash
# Writes requirements/*.txt: exact, hashed, for every platform, without any registry's address.
set -euo pipefail
cd "$(dirname "$0")/.."
uv="${UV:-uv}"
common=(--quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate)
echo hatchling > requirements/.build.in
echo editables >> requirements/.build.in
"$uv" pip compile "${common[@]}" requirements/.build.in -o requirements/build.txt
rm requirements/.build.in
"$uv" pip compile "${common[@]}" -c requirements/build.txt pyproject.toml -o requirements/runtime.txt
"$uv" pip compile "${common[@]}" -c requirements/build.txt -c requirements/runtime.txt --group dev -o requirements/dev.txt
