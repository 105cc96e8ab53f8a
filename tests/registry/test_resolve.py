"""Names and options become plugins; every mistake is reported at once, with its file and line."""

import pytest

from lorarec.config.recipe_file import load_recipe
from lorarec.errors import PluginError, RecipeError
from lorarec.registry.resolve import full_recipe, resolve

RECIPE = """\
name: made-up
data:
  source: {name: table, path: x.csv}
backbone: words
adapter:
  name: bend
  r: 4
head: stars
"""


@pytest.fixture
def problems(tmp_path, monkeypatch, registry):
    """problems(text, overrides): the lines of the error that resolving raises."""
    monkeypatch.chdir(tmp_path)

    def lines(text, overrides=()):
        (tmp_path / "ctr.yaml").write_text(text)
        with pytest.raises((RecipeError, PluginError)) as caught:
            resolve(load_recipe(tmp_path / "ctr.yaml", overrides), registry)
        return str(caught.value).split("\n")

    return lines


def resolved(tmp_path, registry, overrides=()):
    (tmp_path / "ctr.yaml").write_text(RECIPE)
    return resolve(load_recipe(tmp_path / "ctr.yaml", overrides), registry)


def test_options_reach_the_plugin_and_providers_are_named(tmp_path, registry):
    recipe = resolved(tmp_path, registry, ["adapter.r=16"])
    assert (recipe.adapter.name, recipe.adapter.config.r, recipe.source.config.path) == ("bend", 16, "x.csv")
    assert {name: provider.distribution for name, provider in recipe.providers.items()} == dict.fromkeys(
        ["source table", "backbone words", "adapter bend", "head stars", "step accumulate", "metric rmse"],
        "parts-package",
    )


def test_the_heads_metrics_are_used_unless_others_are_given(tmp_path, registry):
    assert [metric.label for metric in resolved(tmp_path, registry).metrics] == ["rmse"]
    recipe = resolved(tmp_path, registry, ["head=next", "evaluate.metrics=[ndcg@20, ndcg@5]"])
    assert [(metric.label, metric.k) for metric in recipe.metrics] == [("ndcg@20", 20), ("ndcg@5", 5)]


def test_a_misspelled_option_is_reported_with_file_line_plugin_and_settings(problems):
    assert problems(RECIPE.replace("r: 4", "alhpa: 3")) == [
        "ctr.yaml:7: adapter 'bend' has no setting 'alhpa'. Did you mean 'alpha'? Settings: alpha, r, targets."
    ]


def test_mistakes_of_recipe_plugins_and_metrics_come_together_in_the_files_order(problems):
    text = RECIPE.replace("r: 4", "r: 0").replace("path: x.csv", "file: x.csv").replace("words", "wrods")
    assert problems(text + "evaluate: {metrics: [rmes], evry: 3}\n", ["train.epochs=x"]) == [
        "ctr.yaml:3: source 'table' needs 'path', which is missing.",
        "ctr.yaml:3: source 'table' has no setting 'file'. Settings: path.",
        "ctr.yaml:4: There is no backbone 'wrods'. Did you mean 'words'? Backbones: words.",
        "ctr.yaml:7: adapter 'bend': r must be at least 1, not 0.",
        "ctr.yaml:9: evaluate has no setting 'evry'. Did you mean 'every'? "
        "Settings: batch_size, every, metrics, patience, seen.",
        "ctr.yaml:9: There is no metric 'rmes'. Did you mean 'rmse'? Metrics: auc, ndcg, rmse.",
        "override 'train.epochs=x': train.epochs must be a whole number, not 'x'.",
    ]


def test_an_override_is_named_instead_of_a_line(problems):
    assert problems(RECIPE, ["adapter=still", "adapter.r=3"]) == [
        "override 'adapter.r=3': adapter 'still' has no setting 'r'. Settings: none."
    ]


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("ndcg@10", "metric 'ndcg' needs ranks, which head 'stars' does not give. "
         "Metrics for it: rmse."),
        ("auc", "metric 'auc' needs scores labeled by 'click', which head 'stars' does not give. "
         "Metrics for it: rmse."),
        ("rmse@10", "metric 'rmse' takes no @k; write 'rmse'."),
    ],
)  # fmt: skip
def test_a_metric_that_does_not_fit_a_pointwise_head_is_refused(problems, metric, message):
    override = f"evaluate.metrics=[{metric}]"
    assert problems(RECIPE, [override]) == [f"override '{override}': {message}"]


@pytest.mark.parametrize("label", ["ndcg", "ndcg@", "ndcg@0", "ndcg@ten", "ndcg@-1", "ndcg@²", f"ndcg@{10**20}"])
def test_a_metric_of_the_first_k_needs_its_k(problems, label):
    override = f"evaluate.metrics=[{label}]"
    assert problems(RECIPE, ["head=next", override]) == [
        f"override '{override}': metric 'ndcg' needs a whole number after @, such as 'ndcg@10', not '{label}'."
    ]


def test_a_metric_given_twice_is_refused(problems):
    assert (
        "metric 'ndcg@05' is given twice." in problems(RECIPE, ["head=next", "evaluate.metrics=[ndcg@5, ndcg@05]"])[0]
    )


def test_the_full_recipe_has_every_default_and_resolves_to_the_same(tmp_path, registry):
    whole = full_recipe(resolved(tmp_path, registry))
    assert whole["adapter"] == {"name": "bend", "r": 4, "alpha": None, "targets": []}
    assert whole["evaluate"]["metrics"] == ["rmse"]
    assert whole["train"]["learning_rate"] == 3e-4
    again = resolve(load_recipe(whole), registry)
    assert full_recipe(again) == whole
