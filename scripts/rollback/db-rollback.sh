#!/usr/bin/env bash
# Takes back by hand the migrations that came with a release: shows the plan with what it costs,
# asks, carries it out, says how it ended and which queries show it.
#   scripts/rollback/db-rollback.sh TARGET --reason TEXT [--plan PLAN] [--to-migration VERSION]
#                                   [--plan-hash HASH] [--yes]
# Everything is `rollbackd rollback`'s: the journal, the checks, the exit code. The plan is
# `database`, the database alone, unless another is named: `app-and-database`.
set -euo pipefail
if [[ $# -lt 1 || $1 == -* ]]; then
  echo "usage: $0 TARGET --reason TEXT [--plan PLAN] [--to-migration VERSION]" \
    "[--plan-hash HASH] [--yes]" >&2
  exit 2
fi
order=("$@")
named=no
for word in "$@"; do
  if [[ $word == --plan || $word == --plan=* ]]; then named=yes; fi
done
if [[ $named == no ]]; then order+=(--plan database); fi
look=()
for word in "${order[@]}"; do
  if [[ $word != --yes ]]; then look+=("$word"); fi
done
rollbackd rollback "${look[@]}" --dry-run
exec rollbackd rollback "${order[@]}"
