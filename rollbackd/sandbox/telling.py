"""Turns what is seen during the demo into lines and into the outcome. Acts on nothing."""

from __future__ import annotations

from rollbackd.sandbox.outcome import Outcome, Shape
from rollbackd.sandbox.scenarios import Scenario
from rollbackd.sandbox.story import Teller

HELD_SECONDS = 8.0  # so long the expected reason has to stand before it is the outcome
QUIET_PHASES = frozenset({"checklist", "post_verification", "report"})  # PROVED says it
QUIET_REASONS = frozenset({"ok", "pending", "no_data"})
TOLD = frozenset({"pending", "breached", "ok"})
ENDED = frozenset({"succeeded", "compensated", "failed", "cancelled", "superseded", "holding"})


class Telling:
    """Remembers what was told, so that each thing is told once."""

    def __init__(self, scenario: Scenario, teller: Teller, outcome: Outcome, began: float) -> None:
        self._scenario = scenario
        self._teller = teller
        self._outcome = outcome
        self._began = began
        self._failed_before: int | None = None
        self._failing = 0.0
        self._sent = 0
        self._triggers: dict[str, str] = {}
        self._steps: dict[int, str] = {}
        self._hold = ("", False)  # the reason, and whether it is what the scenario shows
        self._held_since: float | None = None
        self._decided = False
        self._unsaid: list[tuple[float, str, str]] = []

    def users(self, traffic: Shape, machines: list[Shape], now: float) -> None:
        """What users see: the onset is the first failed request, or the first bad machine."""
        failed, sent = int(traffic["failed"]), int(traffic["sent"])
        if self._failed_before is None:
            self._failed_before, self._sent = failed, sent
        answered = max(1, sent - self._sent)
        self._failing = min(1.0, (failed - self._failed_before) / answered)
        hurt = failed > self._failed_before
        bad = any(m["routable"] and self._scenario.image in m["image"] for m in machines)
        if self._outcome.onset_at is None and (hurt or bad):
            self._outcome.onset_at = now
            why = "a request of a user failed" if hurt else "the first machine serves v2"
            self._say("hurt", why, now)
        self._failed_before, self._sent = failed, sent

    def take_in(self, target: Shape, rollback: Shape | None, now: float) -> bool:
        """Tell what is new, in its order in time; True when the scenario has come to its end."""
        self._teller.show(target, self._failing)
        over = self._take_in(target, rollback, now)
        for at, kind, text in sorted(self._unsaid, key=lambda line: line[0]):
            self._teller.say(kind, text, at - self._began)
        self._unsaid.clear()
        return over

    def _take_in(self, target: Shape, rollback: Shape | None, now: float) -> bool:
        if rollback is None:
            self._tell_triggers(target, now)
            return self._tell_hold(target, now)
        if self._decided:  # from here on the story is the rollback's
            self._tell_triggers(target, now, only=self._outcome.trigger)
        else:  # the verdict was there when it was decided, we only look now and then
            self._tell_triggers(target, min(now, rollback["decided_at"]))
        self._tell_decision(rollback)
        self._tell_steps(rollback)
        return self._tell_end(rollback, now)

    def _say(self, kind: str, text: str, at: float) -> None:
        self._unsaid.append((at, kind, text))

    def _tell_triggers(self, target: Shape, now: float, only: str | None = None) -> None:
        for trigger in target["triggers"]:
            name, state = trigger["name"], trigger["state"]
            if state not in TOLD or (only is not None and name != only):
                continue  # a window that fills says nothing yet
            if self._triggers.get(name, "ok") != state:
                self._say("verdict", f"{name} {state}: {trigger['why']}", now)
            self._triggers[name] = state

    def _tell_hold(self, target: Shape, now: float) -> bool:
        decision = target["decision"]
        if decision is None or decision["kind"] != "hold":
            return False
        reason, headline = decision["reason"], str(target["headline"])
        expected = reason == self._scenario.reason and self._scenario.sentence in headline
        if (reason, expected) != self._hold:
            self._hold, self._held_since = (reason, expected), now
            if expected or reason not in QUIET_REASONS:
                why = headline if reason in QUIET_REASONS else decision["why"]
                self._say("held", f"hold, {reason}: {why}", now)
        if not expected or self._held_since is None or now - self._held_since < HELD_SECONDS:
            return False
        self._outcome.outcome = "held"
        self._outcome.reason = reason
        self._outcome.trigger = decision["trigger"]
        self._outcome.decided_at = decision["at"]
        self._outcome.from_version = decision["from_version"]
        self._say("proof", f"held for {HELD_SECONDS:.0f} s: v2 was not to blame, and stays", now)
        return True

    def _tell_decision(self, rollback: Shape) -> None:
        if self._decided:
            return
        self._decided = True
        out = self._outcome
        out.trigger, out.decided_at = rollback["trigger"], rollback["decided_at"]
        out.from_version, out.to_version = rollback["from_version"], rollback["to_version"]
        text = f"DECIDED: v{out.from_version} goes, v{out.to_version} comes back. {rollback['why']}"
        self._say("decided", text, rollback["decided_at"])

    def _tell_steps(self, rollback: Shape) -> None:
        for step in rollback["steps"]:
            state = step["state"]
            if self._steps.get(step["seq"]) == state or state in {"pending", "skipped"}:
                continue
            self._steps[step["seq"]] = state
            at = step["finished_at"] or step["started_at"]
            if state != "started" and step["phase"] not in QUIET_PHASES and at is not None:
                self._say("step", f"{step['phase'].replace('_', ' ')}: {step['name']}", at)

    def _tell_end(self, rollback: Shape, now: float) -> bool:
        if rollback["state"] not in ENDED:
            return False
        out = self._outcome
        out.reason = rollback["outcome"]
        out.recovered_at = rollback["recovered_at"]
        out.journal = _journal(rollback)
        if rollback["outcome"] != "recovered":
            self._say("hurt", f"{rollback['outcome']}: {rollback['detail']}", now)
            return True
        out.outcome = "recovered"
        if out.recovered_at is not None:
            self._say(
                "proof", "RECOVERED: every trigger has been clear since here", out.recovered_at
            )
        if rollback["proved_at"] is not None:
            self._say("proof", "PROVED: it stayed clear long enough", rollback["proved_at"])
        return True


def _journal(rollback: Shape) -> list[Shape]:
    lines = []
    for step in rollback["steps"]:
        name = f"{step['phase']}: {step['name']}"
        if step["started_at"] is not None:
            lines.append({"at": step["started_at"], "step": name, "event": "started", "detail": ""})
        if step["finished_at"] is not None:
            lines.append(
                {
                    "at": step["finished_at"],
                    "step": name,
                    "event": step["state"],
                    "detail": step["error"],
                }
            )
    return sorted(lines, key=lambda line: float(line["at"]))
