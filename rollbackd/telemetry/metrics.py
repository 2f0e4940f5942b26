"""Every counter and histogram of the process, once; gauges are drawn from the snapshot.

Labels are closed sets or names from the configuration: never a URL, an error text, a machine or a
release, and never app, region, host or instance, which Fly overwrites with those of rollbackd.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from rollbackd.core.model import Decision, RollBack
from rollbackd.core.policy import Policy
from rollbackd.core.snapshot import Snapshot
from rollbackd.telemetry import labels as known
from rollbackd.telemetry.catalogue import INSTRUMENTS
from rollbackd.telemetry.gauges import Gauges

_LOOP_LAGS = 10  # measured once a second


class Metrics:
    """What the process counts. The registry is passed in, never the global one."""

    def __init__(
        self,
        registry: CollectorRegistry,
        snapshot: Callable[[], Snapshot | None] = lambda: None,
        *,
        version: str = "",
    ) -> None:
        self._registry = registry
        self._snapshot = snapshot
        self._taken: tuple[Snapshot | None] | None = None
        self._made = {i.name: i.make(registry) for i in INSTRUMENTS}
        self._born: dict[str, dict[tuple[str, ...], _Child]] = {i.name: {} for i in INSTRUMENTS}
        self._adopted = False
        self._loop_lags: deque[float] = deque([0.0], maxlen=_LOOP_LAGS)
        ProcessCollector(registry=registry)
        registry.register(Gauges(self._newest, lambda: max(self._loop_lags), version))
        for name, sets in known.closed().items():
            self._bear(name, sets)
        # A daemon that runs has accepted a configuration; 0 would alert from the first scrape.
        self._set("rollbackd_config_last_reload_successful", 1)

    def show(self, snapshot: Callable[[], Snapshot | None]) -> None:
        """Draw the gauges from this from now on: the engine is made after the metrics."""
        self._snapshot = snapshot

    def adopt(self, policy: Policy) -> None:
        """Bear every child the configuration implies at 0, and bury those it no longer names.

        A counter born at 1 has no increase: the first failed rollback would alert nobody.
        """
        for name, wanted in known.configured(policy).items():
            for gone in self._born[name].keys() - wanted:
                del self._born[name][gone]
                self._made[name].remove(*gone)
            self._bear(name, wanted)
        self._adopted = True

    # What the engine tells -----------------------------------------------------------------------

    def probe_taken(self, target: str, probe: str, result: str, seconds: float) -> None:
        """`result`: ok, failed, refused, asleep, or a MissReason; any other is `probe_error`."""
        result = result if result in known.PROBE_RESULTS else known.PROBE_ERROR
        # A probe taken away by a reload may still be under way: it must not be born again.
        if self._adopted and (target, probe) not in self._born["rollbackd_probe_duration_seconds"]:
            return
        self._count("rollbackd_probe_results_total", target, probe, result)
        self._observe("rollbackd_probe_duration_seconds", seconds, target, probe)

    def decided(self, decision: Decision) -> None:
        target = decision.target
        if not isinstance(decision, RollBack):
            self._count("rollbackd_decisions_total", target, "hold", str(decision.reason))
            return
        reason = "auto" if decision.automatic else "manual"
        self._count("rollbackd_decisions_total", target, "roll_back", reason)
        if decision.onset_at is not None:
            waited = max(0.0, decision.at - decision.onset_at)
            self._observe("rollbackd_detection_seconds", waited, target)

    def transition(self, target: str, trigger: str, to: str) -> None:
        labels = (target, trigger, str(to))
        if self._adopted and labels not in self._born["rollbackd_trigger_transitions_total"]:
            return
        self._count("rollbackd_trigger_transitions_total", *labels)

    def evaluated(self, target: str, seconds: float) -> None:
        self._count("rollbackd_evaluations_total", target)
        self._observe("rollbackd_evaluation_duration_seconds", seconds)

    def rollback_started(self, target: str) -> None:
        self._count("rollbackd_rollbacks_started_total", target)

    def rollback_ended(
        self, target: str, trigger: str | None, outcome: str, seconds: float
    ) -> None:
        """`trigger` None or empty: a person asked. `seconds` count from the decision."""
        self._count("rollbackd_rollbacks_total", target, trigger or known.MANUAL, str(outcome))
        self._observe("rollbackd_rollback_duration_seconds", seconds, target)

    def step_done(self, phase: str, seconds: float) -> None:
        self._observe("rollbackd_rollback_step_duration_seconds", seconds, str(phase))

    def releases_observed(self, target: str, kind: str) -> None:
        """`kind`: deploy (a person's), rollback (ours), external (a person's rollback)."""
        self._count("rollbackd_releases_observed_total", target, kind)

    def quarantined_deploy(self, target: str) -> None:
        """Once per release that came with what was rolled back from."""
        self._count("rollbackd_quarantined_deploys_total", target)

    def false_alarm(self, target: str) -> None:
        """A person undid a rollback."""
        self._count("rollbackd_false_alarms_total", target)

    # What the process tells ----------------------------------------------------------------------

    def scheduler_lag(self, seconds: float) -> None:
        self._observe("rollbackd_scheduler_lag_seconds", max(0.0, seconds))

    def scheduler_skipped(self, reason: str) -> None:
        reason = reason if reason in known.SKIP_REASONS else known.OTHER
        self._count("rollbackd_scheduler_skipped_runs_total", reason)

    def loop_lag(self, seconds: float) -> None:
        """Told about once a second; the gauge shows the worst of the last ten."""
        self._loop_lags.append(seconds)

    def reloaded(self, result: str, cause: str, at: float | None = None) -> None:
        """`result`: success, failed, unchanged; `cause`: start, sighup, api, watch."""
        self._count("rollbackd_config_reloads_total", result, cause)
        if result == "unchanged":
            return
        self._set("rollbackd_config_last_reload_successful", float(result == "success"))
        if result == "success" and at is not None:
            self._set("rollbackd_config_last_reload_success_timestamp_seconds", at)

    def store_error(self, op: str) -> None:
        op = op if op in known.STORE_OPS else known.OTHER
        self._count("rollbackd_store_errors_total", op)

    def log_message(self, level: str) -> None:
        level = level if level in known.LOG_LEVELS else known.OTHER
        self._count("rollbackd_log_messages_total", level)

    # What the edges tell -------------------------------------------------------------------------

    def api_call(self, api: str, endpoint: str, method: str, code: str, seconds: float) -> None:
        """`endpoint` is a route template, `code` three digits or "error"."""
        self._count("rollbackd_api_requests_total", api, endpoint, method, str(code))
        self._observe("rollbackd_api_request_duration_seconds", seconds, api, endpoint)
        if str(code) in {"401", "403"}:
            self._count("rollbackd_api_unauthorized_total", api)

    def api_retry(self, api: str) -> None:
        self._count("rollbackd_api_retries_total", api)

    def api_rate_limited(self, api: str) -> None:
        self._count("rollbackd_api_rate_limited_total", api)

    def http_request(self, handler: str, method: str, code: int | str) -> None:
        self._count("rollbackd_http_requests_total", handler, method, str(code))

    def take_snapshot(self) -> None:
        """Take it now, on the loop, for the next `render`: a thread must not read moving state."""
        self._taken = (self._snapshot(),)

    def render(self, accept: str) -> tuple[bytes, str]:
        """The exposition. Milliseconds of work for many probes: call it off the loop."""
        encode, content_type = choose_encoder(accept)
        try:
            return encode(_WithoutCreated(self._registry)), content_type
        finally:
            self._taken = None

    # ---------------------------------------------------------------------------------------------

    def _newest(self) -> Snapshot | None:
        return self._taken[0] if self._taken else self._snapshot()

    def _child(self, name: str, labels: tuple[str, ...]) -> _Child:
        born = self._born[name]
        child = born.get(labels)
        if child is None:
            child = born[labels] = self._made[name].labels(*labels) if labels else self._made[name]
        return child

    def _bear(self, name: str, sets: Iterable[tuple[str, ...]]) -> None:
        for labels in sets:
            self._child(name, labels)

    def _count(self, name: str, *labels: str) -> None:
        child = self._child(name, labels)
        assert isinstance(child, Counter)
        child.inc()

    def _observe(self, name: str, seconds: float, *labels: str) -> None:
        child = self._child(name, labels)
        assert isinstance(child, Histogram)
        child.observe(seconds)

    def _set(self, name: str, value: float) -> None:
        child = self._child(name, ())
        assert isinstance(child, Gauge)
        child.set(value)


_Child = Counter | Gauge | Histogram


class _WithoutCreated(Collector):
    """The registry less its `_created` samples, which double the counters and help nobody.

    The library's own switch is global; this one is ours alone.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for family in self._registry.collect():
            family.samples = [s for s in family.samples if not s.name.endswith("_created")]
            yield family
