"""check_plugin: what every plugin class must say of itself."""

from __future__ import annotations

import re

from lorarec.contracts import Plugin, StrictConfig


def check_plugin(plugin_class: type[Plugin]) -> None:
    """Raise AssertionError if the name, the summary, another attribute that the contract asks for, or a setting's
    description is missing or malformed."""
    label = plugin_class.__qualname__
    name = getattr(plugin_class, "name", "")
    assert re.fullmatch(r"[a-z][a-z0-9_@]*", name), (
        f"{label}.name must be lower case, words joined by underscores: {name!r}"
    )
    summary = getattr(plugin_class, "summary", "")
    assert summary and "\n" not in summary, f"{label}.summary must be one line: `lorarec plugins` prints it"
    unset = _unset(plugin_class)
    assert not unset, f"{label} does not set {', '.join(unset)}, as its contract asks of each class"
    assert issubclass(plugin_class.Config, StrictConfig), f"{label}.Config must be a StrictConfig"
    for field, info in plugin_class.Config.model_fields.items():
        assert info.description, f"setting '{field}' of {label} has no description: put a docstring below it"


def _unset(plugin_class: type[Plugin]) -> list[str]:
    """Class attributes that a contract declares without a default, and that the class lacks."""
    return [
        name
        for base in plugin_class.__mro__
        for name, kind in vars(base).get("__annotations__", {}).items()
        if "ClassVar" in str(kind) and not hasattr(plugin_class, name)
    ]
