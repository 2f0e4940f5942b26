"""The names of log events: noun.verb_past, one name for one thing that happened.

A name is an interface: people alert on it and grep for it. Change one as you would an API.
"""

from __future__ import annotations

from typing import Final

# The daemon's life
DAEMON_STARTED: Final = "daemon.started"
DAEMON_STOPPED: Final = "daemon.stopped"
DAEMON_BROKE: Final = "daemon.broke"
DAEMON_STOP_ASKED: Final = "daemon.stop_asked"
DAEMON_STOOD_BY: Final = "daemon.stood_by"
DAEMON_TOOK_OVER: Final = "daemon.took_over"
DAEMON_DEPOSED: Final = "daemon.deposed"
DAEMON_NOT_ALONE: Final = "daemon.not_alone"
DAEMON_ALONE_AGAIN: Final = "daemon.alone_again"
DAEMON_STUCK: Final = "daemon.stuck"
DAEMON_LATE: Final = "daemon.left_late"
CLOCK_JUMPED: Final = "clock.jumped"
CLOCK_TAKEN: Final = "clock.taken"
LISTENER_DELAYED: Final = "listener.delayed"
CONFIG_RELOADED: Final = "config.reloaded"
CONFIG_REFUSED: Final = "config.refused"
STORE_FAILED: Final = "store.failed"
RECORD_FAILED: Final = "record.failed"

# What is seen
PROBE_MISSED: Final = "probe.missed"
PROBE_CRASHED: Final = "probe.crashed"
CONTROL_LOST: Final = "control.lost"
CONTROL_REGAINED: Final = "control.regained"
RELEASE_SEEN: Final = "release.seen"
RELEASE_RELAPSED: Final = "release.relapsed"
WATCH_FAILED: Final = "watch.failed"
WATCH_REGAINED: Final = "watch.regained"
PAST_SEEN: Final = "past.seen"
PAST_UNKNOWN: Final = "past.unknown"
MODE_CAPPED: Final = "mode.capped"
TOKEN_REFUSED: Final = "token.refused"  # noqa: S105 -- the name of an event
API_RETRIED: Final = "api.retried"
DATABASE_OBSERVED: Final = "database.observed"
DATABASE_LOST: Final = "database.lost"
DATABASE_REGAINED: Final = "database.regained"

# What is judged
DECISION_CHANGED: Final = "decision.changed"
PROPOSAL_MADE: Final = "proposal.made"
PROPOSAL_NOT_MADE: Final = "proposal.not_made"
PROPOSAL_WITHDRAWN: Final = "proposal.withdrawn"
PROPOSAL_OVERDUE: Final = "proposal.overdue"

# What is done
ROLLBACK_DECIDED: Final = "rollback.decided"
ROLLBACK_RESUMED: Final = "rollback.resumed"
ROLLBACK_ENDED: Final = "rollback.ended"
ROLLBACK_NOT_BEGUN: Final = "rollback.not_begun"
ROLLBACK_REFUSED: Final = "rollback.refused"
ROLLBACK_HELD: Final = "rollback.held"
ROLLBACK_STOPPED: Final = "rollback.stopped"
ROLLBACK_WENT_ON: Final = "rollback.went_on"
ROLLBACK_HANDED_OVER: Final = "rollback.handed_over"
ROLLBACK_FENCED: Final = "rollback.fenced"
ROLLBACK_DEGRADED: Final = "rollback.degraded"
ROLLBACK_DELAYED: Final = "rollback.delayed"
ROLLBACK_NOTIFIED: Final = "rollback.notified"
ROLLBACK_LET_GO: Final = "rollback.let_go"
STEP_STARTED: Final = "rollback.step_started"
STEP_FINISHED: Final = "rollback.step_finished"
STEP_SKIPPED: Final = "rollback.step_skipped"
STEP_FAILED: Final = "rollback.step_failed"
STEP_RETRIED: Final = "rollback.step_retried"
TRAFFIC_SWITCHED: Final = "rollback.traffic_switched"

# What people asked
ORDER_TAKEN: Final = "order.taken"

# Others
LIBRARY_LOGGED: Final = "library.logged"
