"""check_plugin: what every plugin class must say of itself."""

from __future__ import annotations

import re

from lorarec.contracts import Plugin, StrictConfig


def check_plugin(plugin_class: type[Plugin]) -> None:
    """Raise AssertionError if the name, the summary or a setting's description is missing or malformed."""
    label = plugin_class.__qualname__
    name = getattr(plugin_class, "name", "")
    assert re.fullmatch(r"[a-z][a-z0-9_@]*", name), (
        f"{label}.name must be lower case, words joined by underscores: {name!r}"
    )
    summary = getattr(plugin_class, "summary", "")
    assert summary and "\n" not in summary, f"{label}.summary must be one line: `lorarec plugins` prints it"
    assert issubclass(plugin_class.Config, StrictConfig), f"{label}.Config must be a StrictConfig"
    for field, info in plugin_class.Config.model_fields.items():
        assert info.description, f"setting '{field}' of {label} has no description: put a docstring below it"
