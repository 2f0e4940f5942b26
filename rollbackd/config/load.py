"""Loads the configuration directory: all, or `ConfigRefused` with every error; never half."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, TypeAdapter

from rollbackd.config.advice import advise
from rollbackd.config.diagnostics import ConfigRefused, Diagnostic, Findings
from rollbackd.config.files import ALERTS, LOGGING, MONITORING, NAMES, AlertsSpec, LoggingSpec
from rollbackd.config.interpolate import Interpolation
from rollbackd.config.parse import parse
from rollbackd.config.policy import Monitoring, compile_monitoring
from rollbackd.config.probes import ProbeSetup
from rollbackd.config.regression import asks_prometheus
from rollbackd.config.settings import Settings, load_settings
from rollbackd.config.shape import fit
from rollbackd.config.source import LARGEST_BYTES, read
from rollbackd.config.targets import Around, TargetSettings
from rollbackd.core.errors import ConfigError
from rollbackd.core.model import TargetName
from rollbackd.core.policy import Policy
from rollbackd.plugins import ProbePlugin, executors, probes

M = TypeVar("M", bound=BaseModel)
Plugins = Mapping[str, type[ProbePlugin]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A configuration without errors; `diagnostics` are its warnings.

    `probe_configs` is by (target, probe), without the probes that need a Prometheus which has no
    address: those stay in the policy and are never looked with, so their triggers say no_data.
    """

    policy: Policy
    diagnostics: tuple[Diagnostic, ...]
    probe_configs: Mapping[tuple[str, str], ProbeSetup]
    targets: Mapping[TargetName, TargetSettings]
    alerts: AlertsSpec
    logging: LoggingSpec


def load_directory(
    directory: str | Path,
    environ: Mapping[str, str] | None = None,
    *,
    plugins: Plugins | None = None,
    settings: Settings | None = None,
) -> Loaded:
    """The directory's files as one configuration. Raises ConfigRefused, or ConfigError."""
    root = Path(directory)
    if root.is_file():
        raise ConfigError(f"{root} is a file", hint="give the directory that holds it")
    if not root.is_dir():
        raise ConfigError(f"no directory {root}", hint="set ROLLBACKD_CONFIG or --config")
    return _load({name: root / name for name in NAMES}, environ, plugins, settings)


def load(
    path: str | Path,
    environ: Mapping[str, str] | None = None,
    *,
    plugins: Plugins | None = None,
    settings: Settings | None = None,
    steps: frozenset[str] | None = None,
) -> Loaded:
    """One rollback-monitoring.yml of any name, without its neighbours."""
    return _load({MONITORING: Path(path)}, environ, plugins, settings, steps)


def check_file(
    path: Path, environ: Mapping[str, str], *, plugins: Plugins | None = None
) -> tuple[tuple[Diagnostic, ...], Loaded | None]:
    """Judge one file by its name: alerts, logging, or else monitoring."""
    findings = Findings()
    if path.name == ALERTS:
        _side(path, AlertsSpec, environ, findings, needed=True)
    elif path.name == LOGGING:
        _side(path, LoggingSpec, environ, findings, needed=True)
    else:
        try:
            loaded = load(path, environ, plugins=plugins)
        except ConfigRefused as error:
            return error.diagnostics, None
        return loaded.diagnostics, loaded
    return findings.sorted(), None


def content_hash(directory: str | Path) -> str:
    """Of the bytes of the files; what is not there or not readable counts as such."""
    return _digest({name: Path(directory) / name for name in NAMES})


def _digest(files: Mapping[str, Path]) -> str:
    digest = hashlib.sha256()
    for name, path in files.items():
        try:
            with path.open("rb") as file:
                content = file.read(LARGEST_BYTES + 1)
        except OSError as error:
            content = type(error).__name__.encode()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def _load(
    files: Mapping[str, Path],
    environ: Mapping[str, str] | None,
    plugins: Plugins | None,
    settings: Settings | None,
    steps: frozenset[str] | None = None,
) -> Loaded:
    given = os.environ if environ is None else environ
    findings = Findings()
    around = Around(
        settings=settings or load_settings(given),
        plugins=probes() if plugins is None else plugins,
        steps=frozenset(executors()) if steps is None else steps,
    )
    monitoring = _monitoring(files, around, given, findings)
    alerts = _side(files.get(ALERTS), AlertsSpec, given, findings)
    logging = _side(files.get(LOGGING), LoggingSpec, given, findings)
    if findings.refused or monitoring is None:
        raise ConfigRefused(findings.sorted())
    return Loaded(
        policy=monitoring.policy,
        diagnostics=findings.sorted(),
        probe_configs={
            (target, name): setup
            for target, compiled in monitoring.targets.items()
            for name, setup in compiled.probes.items()
            if compiled.settings.prometheus_url or not asks_prometheus(setup)
        },
        targets={name: compiled.settings for name, compiled in monitoring.targets.items()},
        alerts=alerts,
        logging=logging,
    )


def _monitoring(
    files: Mapping[str, Path], around: Around, environ: Mapping[str, str], findings: Findings
) -> Monitoring | None:
    path = files[MONITORING]
    text = read(path, findings)
    document = parse(text, str(path), findings) if text is not None else None
    if document is None:
        return None
    made = compile_monitoring(
        document,
        around=around,
        environ=environ,
        digest=_digest(files),
        findings=findings,
    )
    if not findings.refused:
        advise(document, made, findings)
    return made


def _side(
    path: Path | None,
    model: type[M],
    environ: Mapping[str, str],
    findings: Findings,
    *,
    needed: bool = False,
) -> M:
    """A file beside the main one; its defaults when it is not there and not `needed`."""
    if path is None or not (needed or os.path.lexists(path)):
        return model()
    text = read(path, findings)
    document = parse(text, str(path), findings) if text is not None else None
    if document is None:
        return model()
    table = Interpolation(environ=environ, findings=findings).table(document)
    return fit(TypeAdapter(model), table, findings) or model()
