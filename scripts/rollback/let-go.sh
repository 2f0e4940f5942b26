#!/usr/bin/env bash
# Gives back what rollbackd holds on an app when rollbackd itself is gone: releases our leases,
# uncordons what we cordoned and starts what we stopped. Needs flyctl (logged in, or FLY_API_TOKEN) and jq, nothing of ours.
#   scripts/rollback/let-go.sh [--dry-run] APP
# Touches only what carries our mark, and may be run again. flyctl cannot take a metadata mark off
# without restarting the machine: it stays, does no harm, and goes with the next deploy.
# Exit: 0 all let go, 1 something refused, 2 usage.
set -euo pipefail

readonly mark="rollbackd "             # our lease descriptions begin with it
readonly cordon_key="rollbackd_cordon" # the metadata key of a machine we cordoned
readonly stop_key="rollbackd_stopped"  # and of one we stopped

dry=false
if [[ ${1:-} == --dry-run ]]; then
  dry=true
  shift
fi
if [[ $# -ne 1 || $1 == -* ]]; then
  echo "usage: $0 [--dry-run] APP" >&2
  exit 2
fi
readonly app=$1

for tool in flyctl jq; do
  if ! command -v "$tool" >/dev/null; then
    echo "$0: $tool is needed" >&2
    exit 2
  fi
done

# Fly takes one call a second; what is refused now may be taken in a moment.
again() {
  local pause
  for pause in 1 2; do
    "$@" && return
    sleep "$pause"
  done
  "$@"
}

if ! machines=$(again flyctl machine list --app "$app" --json); then
  echo "$app: cannot list the machines (is the token good for this app?)" >&2
  exit 1
fi
ids=$(jq --raw-output '.[].id' <<<"$machines")
# A list that does not say whether a machine is cordoned: uncordoning one that is not does nothing.
cordoned=$(jq --raw-output --arg key "$cordon_key" \
  '.[] | select((.config.metadata // {})[$key] // "" | . != "") | select(.cordoned != false) | .id' \
  <<<"$machines")
stopped=$(jq --raw-output --arg key "$stop_key" \
  '.[] | select((.config.metadata // {})[$key] // "" | . != "") | select(.state == "stopped") | .id' \
  <<<"$machines")

if [[ -z $ids ]]; then
  echo "$app: no machines"
  exit 0
fi

done_any=false
failed=false

# The lease first: a leased machine refuses to be uncordoned.
for id in $ids; do
  lease=$(flyctl machine leases view "$id" --app "$app" --json 2>/dev/null || true)
  ours=$(jq --arg mark "$mark" \
    '[.. | objects | .description? // empty | strings | select(startswith($mark))] | length' \
    <<<"${lease:-null}" 2>/dev/null || echo 0)
  [[ ${ours:-0} -gt 0 ]] || continue
  done_any=true
  if $dry; then
    echo "$app $id: would release the lease"
  elif again flyctl machine leases clear "$id" --app "$app" >/dev/null; then
    echo "$app $id: lease released"
  else
    echo "$app $id: lease NOT released; it expires by itself" >&2
    failed=true
  fi
done

for id in $cordoned; do
  done_any=true
  if $dry; then
    echo "$app $id: would go back into traffic"
  elif again flyctl machine uncordon "$id" --app "$app" >/dev/null; then
    echo "$app $id: back in traffic"
  else
    echo "$app $id: NOT uncordoned; try: flyctl machine uncordon $id --app $app" >&2
    failed=true
  fi
done

for id in $stopped; do
  done_any=true
  if $dry; then
    echo "$app $id: would be started"
  elif again flyctl machine start "$id" --app "$app" >/dev/null; then
    echo "$app $id: started"
  else
    echo "$app $id: NOT started; try: flyctl machine start $id --app $app" >&2
    failed=true
  fi
done

$done_any || echo "$app: nothing of ours is held here"
if $failed; then exit 1; fi
