"""StrictConfig accepts true as a boolean only, and names settings that nothing reads."""

import pytest
from pydantic import ValidationError

from lorarec.config.strict import StrictConfig


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
