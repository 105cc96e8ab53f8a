"""StrictConfig accepts true as a boolean only, and names settings that nothing reads."""

import pytest
from pydantic import ValidationError

from lorarec.config.strict import StrictConfig, did_you_mean


class Settings(StrictConfig):
    count: int = 1
    rate: float | None = None
    flag: bool = False
    either: bool | int = 0


@pytest.mark.parametrize("key", ["count", "rate"])
def test_true_is_no_number(key):
    with pytest.raises(ValidationError):
        Settings.model_validate({key: True})


def test_true_is_accepted_by_boolean_settings():
    settings = Settings.model_validate({"flag": True, "either": True})
    assert (settings.flag, settings.either) == (True, True)


def test_infinity_and_unknown_keys_are_refused():
    for wrong in ({"rate": float("inf")}, {"cuont": 1}):
        with pytest.raises(ValidationError):
            Settings.model_validate(wrong)


def test_a_setting_that_nothing_reads_is_named_unless_it_is_at_its_default():
    settings = Settings.model_validate({"count": 5})
    assert settings.idle({"count": False, "rate": False}) == ["count"]
    assert settings.idle({"count": True, "rate": False}) == []


def test_abbreviations_of_settings_are_suggested():
    assert did_you_mean("lr", ["epochs", "learning_rate"]) == " Did you mean 'learning_rate'?"
    assert did_you_mean("rank", ["alpha", "r"]) == " Did you mean 'r'?"
    assert did_you_mean("zzz", ["alpha", "r"]) == ""


@pytest.mark.parametrize("values", [[True], 2**63, [2**64]])
def test_numbers_inside_lists_are_checked_too(values):
    class Lists(StrictConfig):
        numbers: int | tuple[int, ...] = ()

    with pytest.raises(ValidationError):
        Lists.model_validate({"numbers": values})


def test_text_that_no_file_can_hold_is_refused():
    class Text(StrictConfig):
        words: dict[str, str] = {}

    with pytest.raises(ValidationError):
        Text.model_validate({"words": {"a": "\ud800"}})
