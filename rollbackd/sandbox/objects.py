"""What the platform keeps: apps, machines, leases, releases, tokens. Plain mutable records."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

# A Fly machine config is an opaque JSON object: unknown keys must survive a round trip.
Config = dict[str, Any]

PERSISTENT = frozenset({"created", "started", "stopped", "suspended", "failed"})
GONE = frozenset({"destroyed", "destroying"})


@dataclass(slots=True, kw_only=True)
class Lease:
    nonce: str
    owner: str
    expires_at: float
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One past or present content of a machine."""

    version: str
    config: Config
    created_at: float


@dataclass(slots=True, kw_only=True)
class Check:
    name: str
    status: str
    output: str
    updated_at: float
    service: bool


@dataclass(slots=True, kw_only=True, eq=False)
class Machine:
    id: str
    name: str
    app: str
    region: str
    private_ip: str
    port: int
    config: Config
    version: str
    state: str
    created_at: float
    updated_at: float
    host_status: str = "ok"
    cordoned: bool = False
    registered: bool = True
    lease: Lease | None = None
    versions: list[Version] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    checks: dict[str, Check] = field(default_factory=dict)
    pid: int | None = None
    last_served_at: float = 0.0
    in_flight: int = 0
    exits: int = 0
    oom: bool = False
    up_since: float = 0.0
    boot_seconds: float | None = None
    life: asyncio.Task[None] | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def gone(self) -> bool:
        return self.state in GONE

    @property
    def metadata(self) -> dict[str, str]:
        kept: dict[str, str] = self.config.setdefault("metadata", {})
        return kept

    @property
    def group(self) -> str:
        return self.metadata.get("fly_process_group", "app")

    def become(self, state: str) -> None:
        """Change state and wake everybody who waits for it."""
        self.state = state
        self.wake()

    def wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


@dataclass(slots=True, kw_only=True, eq=False)
class Release:
    id: str
    app: str
    version: int
    status: str
    strategy: str
    image_ref: str
    definition: Config | None
    user: str
    created_at: float
    updated_at: float
    description: str = "Release"
    reason: str = ""
    stable: bool = False
    metadata: dict[str, Any] | None = None
    reverted_to: int | None = None


@dataclass(slots=True, kw_only=True)
class Secret:
    name: str
    digest: str
    created_at: float
    updated_at: float


@dataclass(slots=True, kw_only=True)
class Volume:
    id: str
    name: str
    region: str
    size_gb: int
    created_at: float
    attached_machine_id: str | None = None
    state: str = "created"
    snapshots: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True, kw_only=True, eq=False)
class FlyApp:
    id: str
    name: str
    number: int
    region: str
    status: str = "deployed"
    machines: dict[str, Machine] = field(default_factory=dict)
    releases: list[Release] = field(default_factory=list)
    secrets: dict[str, Secret] = field(default_factory=dict)
    secrets_version: int = 0
    volumes: dict[str, Volume] = field(default_factory=dict)
    ips: list[dict[str, Any]] = field(default_factory=list)
    logs: list[dict[str, Any]] = field(default_factory=list)
    gone_images: set[str] = field(default_factory=set)
    idle_seconds: float = 300.0
    refuse_capacity: int = 0
    dependency_port: int = 0

    def newest_release(self) -> Release | None:
        return max(self.releases, key=lambda release: release.version, default=None)

    def alive(self) -> list[Machine]:
        return [machine for machine in self.machines.values() if not machine.gone]


class TokenKind(StrEnum):
    DEPLOY = "deploy"
    READONLY = "readonly"
    ORG = "org"


@dataclass(slots=True, kw_only=True)
class Token:
    """`app` is None for an org token; `expires_at` None for never."""

    secret: str
    kind: TokenKind
    app: str | None = None
    expires_at: float | None = None
    user: str = "ci@sandbox.example"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One mutation that took effect, kept whatever happened to its client."""

    seq: int
    at: float
    app: str
    machine: str | None
    action: str
    op_id: str | None
    image: str | None
    release_id: str | None
    nonce: str | None
    request_id: str
