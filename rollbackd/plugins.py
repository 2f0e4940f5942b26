"""Finds probes, executors, stores and notifiers by entry point, and says what they are given.

Built-ins and third parties enter by the same door (`rollbackd.probes`, …). A plugin is a class
with a pydantic model `Config`, from which the YAML schema is built. Nothing is instantiated here.
"""

from __future__ import annotations

import enum
import random
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from pydantic import BaseModel, SecretStr

from rollbackd.core.database import Invariant
from rollbackd.core.errors import ConfigError
from rollbackd.core.facts import MeasureKind
from rollbackd.core.policy import TargetPolicy
from rollbackd.core.ports import Clock, Executor, Platform, Probe, Store

P = TypeVar("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusAccess:
    """Where Fly's (or the owner's) Prometheus answers. `url` has no trailing slash, no /api."""

    url: str
    token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SupabaseAccess:
    """Where Supabase's Management API answers, without /v1, and the process's own token."""

    url: str = "https://api.supabase.com"
    token: SecretStr | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseAccess:
    """How a target's Postgres is reached: a connection string, as libpq reads it. It is secret."""

    url: SecretStr


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeContext:
    """What a probe is made with besides its own Config.

    `timeout_seconds` is the whole look's deadline, always below `interval_seconds`. `platform`
    is None for a target without `fly:`. `ssl_context` is made once for all probes: it costs 45 ms.
    """

    target: str
    name: str
    url: str | None
    app: str | None
    interval_seconds: float
    timeout_seconds: float
    clock: Clock
    rng: random.Random
    ssl_context: ssl.SSLContext
    platform: Platform | None
    prometheus: PrometheusAccess | None
    user_agent: str
    supabase: SupabaseAccess | None = None
    database: DatabaseAccess | None = None
    invariants: tuple[Invariant, ...] = ()


class Need(enum.StrEnum):
    """What of its target a probe cannot do without."""

    DATABASE = "database"
    INVARIANTS = "invariants"


class ProbePlugin(Protocol):
    """The shape of a probe class. `kind` is its key in the YAML: `health: {http: {...}}`.

    A class may have `dependency(config) -> bool`: it looks at what the app needs, and not at the
    app; and `needs(config) -> Need, …`: without it in the target the probe is refused.
    """

    kind: ClassVar[str]
    Config: ClassVar[type[BaseModel]]

    @classmethod
    def measure(cls, config: Any) -> MeasureKind:  # each plugin has its own Config
        """Which measure this configuration gives; checked against the triggers at load."""
        ...

    @classmethod
    def defaults(cls) -> dict[str, float]:
        """`interval_seconds` where the kind wants another than 10 s; may be empty."""
        ...

    @classmethod
    def build(cls, config: Any, context: ProbeContext) -> Probe: ...


def is_dependency(plugin: type[ProbePlugin], config: BaseModel) -> bool:
    """Whether this probe looks at what the app needs, and not at the app."""
    asked = getattr(plugin, "dependency", None)
    return asked is not None and bool(asked(config))


def needs_of(plugin: type[ProbePlugin], config: BaseModel) -> frozenset[Need]:
    """What the target must have for this probe."""
    asked = getattr(plugin, "needs", None)
    return frozenset(asked(config)) if asked is not None else frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorContext:
    """What an executor is made with: one target, its platform, and where to keep things."""

    target: TargetPolicy
    platform: Platform
    store: Store
    clock: Clock
    database: DatabaseAccess | None = None
    supabase: SupabaseAccess | None = None
    state: Path | None = None  # our own directory; None where nothing may be kept beside the store
    permit: Callable[[str], None] = lambda _what: None  # raises Stopped or Fenced before an effect


class ExecutorPlugin(Protocol):
    """The shape of an executor class. `kind` is its word in `plans: {x: {steps: [kind]}}`."""

    kind: ClassVar[str]

    @classmethod
    def build(cls, context: ExecutorContext) -> Executor: ...


class Plugins(Mapping[str, P]):
    """The classes of a group by kind, sorted so that schemas come out the same.

    One is imported when it is asked for: no start waits for what its configuration does not name.
    """

    def __init__(self, group: str) -> None:
        self._points: dict[str, EntryPoint] = {}
        for point in sorted(_points()(group=group), key=lambda p: (p.name, p.value)):
            if point.name in self._points:
                message = f"two packages bring the {group} plugin {point.name!r}"
                raise ConfigError(message, hint="uninstall one of them")
            self._points[point.name] = point

    def __getitem__(self, kind: str) -> P:
        plugin: P = self._points[kind].load()
        return plugin

    def __iter__(self) -> Iterator[str]:
        return iter(self._points)

    def __len__(self) -> int:
        return len(self._points)


@cache
def probes() -> Plugins[type[ProbePlugin]]:
    """All probe classes by kind."""
    return Plugins("rollbackd.probes")


@cache
def executors() -> Plugins[type[ExecutorPlugin]]:
    """All executor classes by kind."""
    return Plugins("rollbackd.executors")


@cache
def _points() -> Callable[..., EntryPoints]:
    return entry_points().select  # reads a file of every package that is installed: once is enough
