"""Probe plugins that only have a Config: the loader needs no more of them."""

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field, RootModel

from rollbackd.config.diagnostics import ConfigRefused, Diagnostic, Level
from rollbackd.config.load import Loaded, load
from rollbackd.config.types import Duration, Regex, Spec, StatusClasses
from rollbackd.core.facts import MeasureKind


class _Expect(Spec):
    status: StatusClasses = ("2xx",)
    body: Regex | None = None


class _HttpConfig(Spec):
    path: str = "auto"
    headers: dict[str, str] = Field(default_factory=dict)
    expect: _Expect = _Expect()


class _NoConfig(Spec):
    pass


class _Edge(RootModel[Literal["errors", "latency"]]):
    pass


class _Query(Spec):
    value: str = ""
    bad: str | None = None
    delay: Duration = 30.0


class _Fake:
    Config: ClassVar[type[BaseModel]] = _NoConfig
    kind: ClassVar[str]

    @classmethod
    def measure(cls, config: Any) -> MeasureKind:
        return MeasureKind.CHECK

    @classmethod
    def defaults(cls) -> dict[str, float]:
        return {}

    @classmethod
    def build(cls, config: Any, context: Any) -> Any:
        raise NotImplementedError


class FakeHttp(_Fake):
    kind = "http"
    Config = _HttpConfig


class FakeFly(_Fake):
    kind = "fly"


class FakeEdge(_Fake):
    kind = "fly_edge"
    Config = _Edge

    @classmethod
    def measure(cls, config: Any) -> MeasureKind:
        return MeasureKind.RATIO if config.root == "errors" else MeasureKind.HISTOGRAM

    @classmethod
    def defaults(cls) -> dict[str, float]:
        return {"interval_seconds": 30.0}


class FakeQuery(_Fake):
    kind = "prometheus"
    Config = _Query

    @classmethod
    def measure(cls, config: Any) -> MeasureKind:
        return MeasureKind.VALUE if config.bad is None else MeasureKind.RATIO


PLUGINS: dict[str, Any] = {
    plugin.kind: plugin for plugin in (FakeEdge, FakeFly, FakeHttp, FakeQuery)
}
STEPS = frozenset({"app", "data", "database", "pitr"})
ENVIRON = {"ROLLBACKD_PROMETHEUS_URL": "http://prometheus.test:9090"}


def load_text(tmp_path: Any, text: str | bytes, **environ: str) -> Loaded:
    """Write the text as rollback-monitoring.yml and load it with the fake plugins."""
    path = tmp_path / "rollback-monitoring.yml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return load(path, ENVIRON | environ, plugins=PLUGINS, steps=STEPS)


def refusals(tmp_path: Any, text: str | bytes, **environ: str) -> list[Diagnostic]:
    """The errors of the text, which must be refused."""
    try:
        load_text(tmp_path, text, **environ)
    except ConfigRefused as error:
        return [d for d in error.diagnostics if d.severity is Level.ERROR]
    message = "was not refused"
    raise AssertionError(message)


def warnings(loaded: Loaded) -> list[str]:
    return [d.message for d in loaded.diagnostics]
