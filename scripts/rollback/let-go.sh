#!/usr/bin/env bash
# Gives back what rollbackd holds on an app when rollbackd itself is gone: releases our leases,
# uncordons what we cordoned and starts what we stopped. Needs flyctl (logged in, or FLY_API_TOKEN) and jq, nothing of ours.
#   scripts/rollback/let-go.sh [--dry-run] APP
# Touches only what carries our mark, and may be run again. flyctl cannot take a metadata mark off
# without restarting the machine: it stays, does no harm, and goes with the next deploy.
# Exit: 0 all let go, 1 something refused or could not be seen, 2 usage.
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

done_any=false
failed=false

# Does one thing for a machine, or says that it would: ID WOULD DONE NOT COMMAND...
give_back() {
  local id=$1 would=$2 did=$3 not=$4
  shift 4
  done_any=true
  if $dry; then
    echo "$app $id: $would"
  elif again "$@" >/dev/null; then
    echo "$app $id: $did"
  else
    echo "$app $id: $not" >&2
    failed=true
  fi
}

# Whether a lease of ours is on it. A machine without one is an empty answer, or "not found".
leased_by_us() {
  local id=$1 pause lease ours said=""
  local view=(flyctl machine leases view "$id" --app "$app" --json)
  for pause in 0 1 2; do
    sleep "$pause"
    if lease=$("${view[@]}" 2>/dev/null) && ours=$(jq --arg mark "$mark" \
      '[.. | objects | .description? // empty | strings | select(startswith($mark))] | length' \
      <<<"$lease" 2>/dev/null); then
      [[ ${ours:-0} -gt 0 ]]
      return
    fi
    said=$("${view[@]}" 2>&1 >/dev/null) || [[ $said != *"not found"* ]] || return 1
  done
  echo "$app $id: cannot see its lease; one of ours expires by itself: ${said:0:200}" >&2
  failed=true
  return 1
}

# The ids of the machines for which jq's $1 holds, one a line; $2 is the key of a mark.
ids() {
  jq --raw-output --arg key "${2:-}" \
    "def mark: (.config.metadata? // {} | objects | .[\$key]) // \"\"; .[] | select($1) | .id" \
    <<<"$machines"
}

if ! machines=$(again flyctl machine list --app "$app" --json); then
  echo "$app: cannot list the machines (is the token good for this app?)" >&2
  exit 1
fi
listed='type == "array" and all(.[]; type == "object" and (.id | type) == "string")'
if [[ $(jq "$listed" <<<"$machines" 2>/dev/null) != true ]]; then
  echo "$app: flyctl's list of machines is none: ${machines:0:200}" >&2
  exit 1
fi
if [[ $(jq length <<<"$machines") -eq 0 ]]; then
  # Fly has listed none by mistake before: that is no proof that nothing is held.
  echo "$app: no machines are listed, so nothing was looked at; is it this app? run it again" >&2
  exit 1
fi

# The lease first: a leased machine refuses to be uncordoned.
for id in $(ids true); do
  leased_by_us "$id" || continue
  give_back "$id" "would release the lease" "lease released" \
    "lease NOT released; it expires by itself" \
    flyctl machine leases clear "$id" --app "$app"
done

# A list that does not say whether a machine is cordoned: uncordoning one that is not does nothing.
for id in $(ids 'mark != "" and .cordoned != false' "$cordon_key"); do
  give_back "$id" "would go back into traffic" "back in traffic" \
    "NOT uncordoned; try: flyctl machine uncordon $id --app $app" \
    flyctl machine uncordon "$id" --app "$app"
done

for id in $(ids 'mark != "" and .state == "stopped"' "$stop_key"); do
  give_back "$id" "would be started" "started" \
    "NOT started; try: flyctl machine start $id --app $app" \
    flyctl machine start "$id" --app "$app"
done

if $failed; then exit 1; fi
$done_any || echo "$app: nothing of ours is held here"
