#!/bin/sh
# Gives the state directory to the unprivileged user and becomes that user for good.
set -eu
state="${ROLLBACKD_STATE:-/data}"
if [ "$(id -u)" -eq 0 ]; then
  mkdir -p "$state"
  chown rollbackd:rollbackd "$state"
  chmod 0700 "$state"
  exec setpriv --reuid=rollbackd --regid=rollbackd --clear-groups --no-new-privs --inh-caps=-all "$@"
fi
exec "$@"
