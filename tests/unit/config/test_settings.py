from pathlib import Path

import pytest

from rollbackd.config.settings import Address, Settings, load_settings, variable
from rollbackd.core.errors import ConfigError
from rollbackd.core.rules import Mode

VARIABLES = {
    "ROLLBACKD_CONFIG", "ROLLBACKD_STATE", "ROLLBACKD_MODE", "ROLLBACKD_METRICS_LISTEN",
    "ROLLBACKD_LISTEN", "ROLLBACKD_TOKEN_RO", "ROLLBACKD_TOKEN_RW", "ROLLBACKD_URL",
    "ROLLBACKD_FLY_TOKEN", "ROLLBACKD_FLY_READ_TOKEN", "ROLLBACKD_FLY_MACHINES_URL",
    "ROLLBACKD_FLY_API_URL", "ROLLBACKD_PROMETHEUS_URL", "ROLLBACKD_PROMETHEUS_TOKEN",
    "ROLLBACKD_STORE", "ROLLBACKD_RECORD", "ROLLBACKD_SUPABASE_URL", "ROLLBACKD_SUPABASE_TOKEN",
    "ROLLBACKD_ALLOW_EPHEMERAL",
}  # fmt: skip


def test_the_variables_are_these_and_no_others() -> None:
    assert {variable(field) for field in Settings.model_fields} == VARIABLES


def test_nothing_has_to_be_set() -> None:
    settings = load_settings({})

    assert settings.config == Path("config")
    assert settings.state == Path("state")
    assert settings.mode is Mode.AUTO
    assert settings.metrics_address == Address(host="127.0.0.1", port=9090)
    assert settings.address == Address(host="127.0.0.1", port=8080)
    assert settings.fly_token is None


def test_the_process_environment_is_read_when_none_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ROLLBACKD_MODE", "observe")

    assert load_settings().mode is Mode.OBSERVE
    assert Settings().mode is Mode.AUTO  # by hand means by hand


def test_an_empty_variable_counts_as_unset() -> None:
    assert load_settings({"ROLLBACKD_URL": ""}).url is None


def test_a_token_loses_its_newline_and_never_shows() -> None:
    settings = load_settings({"ROLLBACKD_FLY_TOKEN": "hush-hush\n"})

    assert settings.fly_token is not None
    assert settings.fly_token.get_secret_value() == "hush-hush"
    assert "hush-hush" not in repr(settings)


def test_ipv6_listens_on_everything() -> None:
    settings = load_settings({"ROLLBACKD_METRICS_LISTEN": "[::]:9090"})

    assert settings.metrics_address == Address(host="::", port=9090)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ROLLBACKD_MODE", "Auto", "expected 'observe'"),
        ("ROLLBACKD_LISTEN", "8080", "not an address"),
        ("ROLLBACKD_LISTEN", "localhost:99999", "not an address"),
        ("ROLLBACKD_FLY_MACHINES_URL", "https://api.test/v1", "leave off /v1"),
        ("ROLLBACKD_FLY_API_URL", "https://api.test/graphql/", "leave off /graphql"),
        ("ROLLBACKD_PROMETHEUS_URL", "prometheus:9090", "not an http or https URL"),
        ("ROLLBACKD_URL", "https://me:hush-hush@api.test", "a URL with a password"),
    ],
)
def test_a_wrong_variable_is_named_and_its_value_is_not_shown(
    name: str, value: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({name: value})

    assert caught.value.message.startswith(f"{name}: ")
    assert message in caught.value.message
    assert "hush-hush" not in f"{caught.value.message}{caught.value.hint}"
    assert caught.value.__cause__ is None


def test_all_wrong_variables_are_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"ROLLBACKD_MODE.*ROLLBACKD_LISTEN"):
        load_settings({"ROLLBACKD_MODE": "x", "ROLLBACKD_LISTEN": "x"})


def test_a_misspelt_ceiling_is_not_ignored() -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({"ROLLBACKD_MOED": "observe"})

    assert caught.value.hint == "did you mean ROLLBACKD_MODE?"


def test_a_variable_of_the_yaml_may_start_like_ours() -> None:
    load_settings({"ROLLBACKD_STAGING_DEPLOY_TOKEN": "x"})


def test_the_api_is_not_opened_without_tokens() -> None:
    settings = load_settings({"ROLLBACKD_LISTEN": "0.0.0.0:8080", "ROLLBACKD_TOKEN_RO": "a"})

    with pytest.raises(ConfigError) as caught:
        settings.refuse_open_listener()

    assert "ROLLBACKD_TOKEN_RW" in caught.value.hint


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"ROLLBACKD_LISTEN": "localhost:0"},
        {"ROLLBACKD_LISTEN": "[::1]:8080"},
        {"ROLLBACKD_LISTEN": "[::]:8080", "ROLLBACKD_TOKEN_RO": "a", "ROLLBACKD_TOKEN_RW": "b"},
    ],
)
def test_the_api_may_listen_on_loopback_or_behind_tokens(environ: dict[str, str]) -> None:
    load_settings(environ).refuse_open_listener()


def test_a_store_that_is_not_there_is_refused_and_not_passed_over() -> None:
    with pytest.raises(ConfigError, match="ROLLBACKD_STORE"):
        load_settings({"ROLLBACKD_STORE": "postgres"})
