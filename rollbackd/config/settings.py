"""Process settings: the ROLLBACKD_* environment variables. Nothing of the YAML is decided here."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from rollbackd.config.types import Url, parse_duration, refused
from rollbackd.core.errors import ConfigError
from rollbackd.core.rules import Mode

PREFIX = "ROLLBACKD_"
_LISTEN = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:\s]+):([0-9]{1,5})")
_LAST_PORT = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a listener binds. `port` 0 means any free one."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def _address(text: str) -> Address:
    found = _LISTEN.fullmatch(text)
    if found is None or int(found[2]) > _LAST_PORT:
        raise refused("not an address to listen on", "write 127.0.0.1:9090 or [::]:9090")
    return Address(host=found[1].strip("[]"), port=int(found[2]))


def _listen(text: str) -> str:
    _address(text)
    return text


def _record(text: str) -> str:
    if text != "off":
        parse_duration(text)
    return text


def _stripped(value: object) -> object:
    return value.strip() if isinstance(value, str) else value  # secret files end in a newline


def _base(*, without: str) -> AfterValidator:
    def base(url: str) -> str:
        bare = url.rstrip("/")
        if bare.endswith(without):
            raise refused(f"leave off {without}", f"the base address only, without {without}")
        return bare

    return AfterValidator(base)


Listen = Annotated[str, AfterValidator(_listen)]
Token = Annotated[SecretStr, BeforeValidator(_stripped)]


class Settings(BaseSettings):
    """One field for each variable: `fly_token` is ROLLBACKD_FLY_TOKEN.

    Made by `load_settings`, or by hand with what is given and nothing else: the demo must not
    pick up the token of whoever runs it.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    config: Path = Field(Path("config"), description="Directory of the YAML files.")
    state: Path = Field(Path("state"), description="Directory of the journal and the socket.")
    mode: Mode = Field(Mode.AUTO, description="Ceiling over the YAML: observe beats auto.")
    metrics_listen: Listen = Field("127.0.0.1:9090", description="/metrics, /healthz, /readyz.")
    listen: Listen = Field("127.0.0.1:8080", description="Status page and API.")
    token_ro: Token | None = Field(None, description="Bearer token that may read.")
    token_rw: Token | None = Field(None, description="Bearer token that may act.")
    url: Annotated[Url, _base(without="/api/v1")] | None = Field(
        None, description="Where the command line finds a daemon on another machine."
    )
    fly_token: Token | None = Field(None, description="Fly deploy token; needed to act.")
    fly_read_token: Token | None = Field(None, description="Fly read-only token, for reading.")
    fly_machines_url: Annotated[Url, _base(without="/v1")] = Field(
        "https://api.machines.dev", description="Machines API, without /v1."
    )
    fly_api_url: Annotated[Url, _base(without="/graphql")] = Field(
        "https://api.fly.io", description="Platform API, without /graphql."
    )
    prometheus_url: Annotated[Url, _base(without="/api/v1")] | None = Field(
        None, description="Prometheus, without /api/v1: https://api.fly.io/prometheus/<org>."
    )
    prometheus_token: Token | None = Field(None, description="Defaults to the Fly read token.")
    allow_ephemeral: bool = Field(
        False, description="On Fly: keep the journal on a disk that every start empties."
    )
    supabase_url: Annotated[Url, _base(without="/v1")] = Field(
        "https://api.supabase.com", description="Supabase's Management API, without /v1."
    )
    supabase_token: Token | None = Field(None, description="For probes of a Supabase project.")
    record: Annotated[str, AfterValidator(_record)] = Field(
        "24h", description="How long to keep what was heard, for replay; off keeps nothing."
    )
    store: Literal["sqlite"] = Field("sqlite", description="What keeps the journal; sqlite only.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the library's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)

    @property
    def metrics_address(self) -> Address:
        return _address(self.metrics_listen)

    @property
    def record_seconds(self) -> float:
        """How long to keep what was heard; 0 keeps nothing."""
        return 0.0 if self.record == "off" else parse_duration(self.record)

    @property
    def address(self) -> Address:
        return _address(self.listen)

    def refuse_open_listener(self) -> None:
        """The API must not be reachable from elsewhere without a token. Raises ConfigError."""
        if self.address.loopback or (self.token_ro and self.token_rw):
            return
        raise ConfigError(
            f"{PREFIX}LISTEN is reachable from other machines, but tokens are missing",
            hint=f"set {PREFIX}TOKEN_RO and {PREFIX}TOKEN_RW, or listen on 127.0.0.1",
        )


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the environment. Raises ConfigError naming the variable; never its value."""
    given = os.environ if environ is None else environ
    _refuse_misspelt(set(given))
    source = EnvSettingsSource(Settings)
    source.env_vars = {name.lower(): value for name, value in given.items() if value}
    try:
        return Settings.model_validate(source())
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise ConfigError(
            "; ".join(_message(detail) for detail in found),
            hint="; ".join(
                filter(None, (detail.get("ctx", {}).get("hint", "") for detail in found))
            ),
        ) from None  # the library's own text may hold the value


def _message(detail: ErrorDetails) -> str:
    text = detail["msg"].replace("Input should be", "expected")
    return f"{variable(str(detail['loc'][0]))}: {text[:1].lower()}{text[1:]}"


def variable(field: str) -> str:
    return f"{PREFIX}{field.upper()}"


def _refuse_misspelt(names: set[str]) -> None:
    """A misspelt ROLLBACKD_MODE would silently leave the ceiling open."""
    known = [variable(field) for field in Settings.model_fields]
    for name in sorted(names):
        if not name.startswith(PREFIX) or name in known:
            continue
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.9)
        if close:
            raise ConfigError(f"unknown variable {name}", hint=f"did you mean {close[0]}?")
