"""Discovery keeps broken plugins separate and refuses duplicates."""

import pytest

from lorarec.contracts import Adapter
from lorarec.errors import PluginError
from lorarec.registry.registry import Registry


class Whole(Adapter):
    name = "whole"
    summary = "made up"

    def attach(self, backbone, plan, name="default"):
        return backbone.module

    def save(self, module, folder, name="default"):
        pass

    def restore(self, backbone, folder, name="default"):
        return backbone.module

    def merge(self, module, name="default"):
        return module


def offering(*classes):
    return lambda: list(classes)


def test_a_plugin_is_found_with_its_provider(entry_point):
    registry = Registry.discover([entry_point("whole", "their-package", lorarec_adapters=offering(Whole))])
    assert registry.find("adapter", "whole") is Whole
    assert str(registry.provider("adapter", "whole")) == "their-package 1.2"


def test_a_plugin_that_fails_to_import_warns_and_does_not_stop_the_others(entry_point, parts, caplog):
    broken = entry_point("odd", "odd-package")
    vars(broken)["value"] = "no_such_module_at_all"
    registry = Registry.discover([broken, parts])
    assert registry.find("adapter", "bend")
    assert "Plugin 'odd' of odd-package is broken: ModuleNotFoundError" in caplog.text
    with pytest.raises(PluginError) as caught:
        registry.find("adapter", "odd")
    assert str(caught.value) == (
        "Plugin 'odd' of odd-package is broken: ModuleNotFoundError: No module named 'no_such_module_at_all'"
    )


def test_an_unknown_name_lists_the_broken_packages_it_may_be_in(entry_point):
    broken = entry_point("odd", "odd-package")
    vars(broken)["value"] = "no_such_module_at_all"
    with pytest.raises(PluginError, match="could not be loaded:\n  Plugin 'odd' of odd-package is broken"):
        Registry.discover([broken]).find("adapter", "elsewhere")


def test_two_packages_with_one_entry_point_name_are_refused(entry_point):
    points = [entry_point("whole", name, lorarec_adapters=offering(Whole)) for name in ("one-package", "two-package")]
    with pytest.raises(PluginError) as caught:
        Registry.discover(points)
    assert str(caught.value) == (
        "Two packages offer a plugin 'whole': one-package and two-package. "
        "Uninstall one, or disable both with LORAREC_DISABLE_PLUGINS=whole."
    )


def test_two_plugins_of_one_kind_and_name_are_refused(entry_point):
    class Other(Whole):
        pass

    points = [
        entry_point("first", "one-package", lorarec_adapters=offering(Whole)),
        entry_point("second", "two-package", lorarec_adapters=offering(Other)),
    ]
    with pytest.raises(PluginError) as caught:
        Registry.discover(points)
    assert str(caught.value) == (
        "Two plugins are the adapter 'whole': Whole of one-package and Other of two-package. "
        "Uninstall one package, or disable one with LORAREC_DISABLE_PLUGINS=second."
    )


def test_a_plugin_is_disabled_by_the_name_of_its_entry_point(entry_point, monkeypatch, caplog):
    monkeypatch.setenv("LORAREC_DISABLE_PLUGINS", "whole, gone")
    registry = Registry.discover([entry_point("whole", "their-package", lorarec_adapters=offering(Whole))])
    assert registry.names("adapter") == []
    assert "names 'gone', which no installed package offers" in caplog.text
    with pytest.raises(PluginError) as caught:
        registry.find("adapter", "whole")
    assert str(caught.value) == ("Plugin 'whole' is disabled by LORAREC_DISABLE_PLUGINS; remove its name there.")


class Half(Adapter):
    name = "half"
    summary = "made up"


class Nameless(Whole):
    name = ""


@pytest.mark.parametrize(
    ("functions", "message"),
    [
        (
            {"lorarec_adaptors": offering(Whole)},
            "there is no hook 'lorarec_adaptors'. Hooks: lorarec_adapters, ",
        ),
        ({"lorarec_adapters": offering("lora")}, "offers 'lora', which is no subclass of Adapter."),
        ({"lorarec_metrics": offering(Whole)}, "offers Whole, which is no subclass of Metric."),
        (
            {"lorarec_adapters": offering(Half)},
            "adapter class Half of odd-package does not define attach, merge, ",
        ),
        ({"lorarec_adapters": offering(Nameless)}, "adapter class Nameless of odd-package has no 'name'."),
        ({"lorarec_adapters": lambda: Whole}, "hook lorarec_adapters must return a list, not ABCMeta."),
        ({"lorarec_adapters": lambda wanted: [Whole]}, "A hook takes nothing and returns a list of classes."),
        ({}, "has no function marked @hookimpl."),
        ({"lorarec_adapters": lambda: 1 / 0}, "ZeroDivisionError: division by zero"),
    ],
)
def test_a_plugin_that_breaks_its_contract_is_reported_with_its_package_and_the_reason(entry_point, functions, message):
    registry = Registry.discover([entry_point("odd", "odd-package", **functions)])
    with pytest.raises(PluginError) as caught:
        registry.find("adapter", "odd")
    assert str(caught.value).startswith("Plugin 'odd' of odd-package is broken: ")
    assert message in str(caught.value)


def test_a_near_name_is_suggested(registry):
    with pytest.raises(PluginError) as caught:
        registry.find("adapter", "bends")
    assert str(caught.value) == "There is no adapter 'bends'. Did you mean 'bend'? Adapters: bend, still."


def test_a_plugin_of_another_known_package_is_refused_with_how_to_install_it(registry):
    with pytest.raises(PluginError, match=r"'ia3'\. In a clone of lorarec, 'pip install ./plugins/lorarec-ia3'"):
        registry.find("adapter", "ia3")


def test_everything_the_project_registers_loads():
    registry = Registry.discover()
    assert [str(broken) for broken in registry.broken] == []
    assert {"lora", "adalora", "prefix", "full", "frozen"} <= set(registry.names("adapter"))
