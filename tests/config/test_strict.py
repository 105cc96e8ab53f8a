"""StrictConfig accepts true as a boolean only."""

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
