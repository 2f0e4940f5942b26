#!/usr/bin/env bash
# Rolls an app back by hand: shows the plan, asks, carries it out and says how it ended.
#   scripts/rollback/app-rollback.sh TARGET --reason TEXT [--to VERSION] [--yes]
# Everything is `rollbackd rollback`'s: the journal, the checks, the exit code.
set -euo pipefail
if [[ $# -lt 1 || $1 == -* ]]; then
  echo "usage: $0 TARGET --reason TEXT [--to VERSION] [--yes]" >&2
  exit 2
fi
plan=()
for word in "$@"; do [[ $word == --yes ]] || plan+=("$word"); done
rollbackd rollback "${plan[@]}" --dry-run
exec rollbackd rollback "$@"
