"""Which environment it is decides whether anything leaves; doubt never sends."""

from __future__ import annotations

import pytest

from include.environment import UnknownEnvironment, current


@pytest.mark.parametrize(
    ("name", "mode", "effect_mode"),
    [
        ("development", "", "live"),
        ("staging", "", "capture"),
        ("production", "", "live"),
        ("production", "shadow", "shadow"),
        ("", "", "capture"),
    ],
)
def test_an_environment_has_an_effect_mode(
    monkeypatch: pytest.MonkeyPatch, name: str, mode: str, effect_mode: str
) -> None:
    monkeypatch.setenv("WAYBILL_ENVIRONMENT", name)
    monkeypatch.setenv("WAYBILL_EFFECT_MODE", mode)
    assert current().effect_mode == effect_mode


def test_an_environment_that_says_nothing_sends_nothing_and_takes_nothing_unsigned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("WAYBILL_ENVIRONMENT", raising=False)
    monkeypatch.delenv("WAYBILL_EFFECT_MODE", raising=False)
    assert current().effect_mode == "capture"
    assert not current().is_development


@pytest.mark.parametrize("variable", ["WAYBILL_ENVIRONMENT", "WAYBILL_EFFECT_MODE"])
def test_a_misspelt_setting_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "Live")
    with pytest.raises(UnknownEnvironment, match=variable):
        current()
