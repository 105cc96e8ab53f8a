"""StrictConfig: settings that refuse what they do not know."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class StrictConfig(BaseModel):
    """Frozen settings that refuse unknown keys; infinite and NaN numbers are refused as well.

    Every plugin's `Config` and every section of a recipe is one. Give each field a type, a default where there is
    a sensible one, and a `Field(description=...)`: `lorarec plugins show` and the JSON Schema print it.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True, use_attribute_docstrings=True
    )
