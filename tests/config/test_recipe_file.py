"""Recipe files: YAML 1.2, `extends`, and every mistake with its line."""

import pytest

from lorarec.config.recipe import TrainSection
from lorarec.config.recipe_file import bundled_folder, find_recipe, load_recipe
from lorarec.config.yaml_text import write_yaml
from lorarec.errors import RecipeError

RECIPE = """\
name: made-up
data:
  source: {name: files, path: x.csv}
backbone: minilm
adapter: {name: lora, r: 8}
head: ctr
"""


BOMB = "a1: &a1 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(2, 9)
)
"""A few lines whose aliases stand for millions of values."""


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def written(text, name="ctr.yaml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return written


def problems(source, overrides=(), folders=()):
    with pytest.raises(RecipeError) as caught:
        _ = load_recipe(source, overrides, folders).recipe
    return str(caught.value).split("\n")


def test_a_plugin_may_be_given_by_its_name_alone(write):
    recipe = load_recipe(write(RECIPE)).recipe
    assert (recipe.backbone.name, recipe.backbone.options) == ("minilm", {})
    assert (recipe.adapter.name, recipe.adapter.options) == ("lora", {"r": 8})


@pytest.mark.parametrize(
    ("written", "meant"),
    [("1e-3", 0.001), ("3.0e-4", 0.0003), (".5", 0.5), ("2", 2), ("no", "no"), ("on", "on"),
     ("12:30", "12:30"),
     ("2020-01-01", "2020-01-01"), ("0o7", 7), ("010", 10), ("1_000", "1_000"), ("0b1", "0b1"),
     ("=", "="), ("<<", "<<"), ("~", None), ("true", True), ("1e", "1e")],
)  # fmt: skip
def test_scalars_are_read_as_yaml_1_2(write, written, meant):
    read = load_recipe(write(f"{RECIPE}extra: {written}\n")).document.values["extra"]
    assert read == meant
    assert type(read) is type(meant)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("sed: 3", "the recipe has no setting 'sed'. Did you mean 'seed'? Settings: adapter, backbone, "
         "callbacks, data, description, evaluate, head, name, seed, train."),
        ("epochs: 3", "the recipe has no setting 'epochs'. Did you mean 'train.epochs'? "
         "Settings: adapter, backbone, callbacks, data, description, evaluate, head, name, seed, train."),
        ("evaluate: {evry: 3}", "evaluate has no setting 'evry'. Did you mean 'every'? "
         "Settings: batch_size, every, metrics, patience, seen."),
        ("evaluate: {metrics: auc}", "evaluate.metrics must be a list, such as [a, b], not 'auc'."),
        ("evaluate: {patience: 0}", "evaluate.patience must be at least 1, not 0."),
        ("evaluate: 7", "evaluate must be a section of settings, not 7."),
        ("train: {epochs: true}", "train.epochs must be a number, not true."),
        ("train: {epochs: 1.5}", "train.epochs must be a whole number, not 1.5."),
        ("train: {epochs: null}", "train.epochs must be a whole number, not null."),
        ("train: {warmup: 1}", "train.warmup must be less than 1, not 1."),
        ("train: {learning_rate: .inf}", "train.learning_rate must be a finite number, not inf."),
        ("train: {learning_rate: fast}", "train.learning_rate must be a number, not 'fast'."),
        ("train: {schedule: cosin}", "train.schedule must be one of linear, cosine, constant, not 'cosin'. "
         "Did you mean 'cosine'?"),
        ("train: {save_every: epock}", "train.save_every must be a whole number or one of epoch, never, "
         "not 'epock'. Did you mean 'epoch'?"),
        ("train: {save_every: 0}", "train.save_every must be at least 1 or one of epoch, never, not 0."),
        ("train: {save_every: never, keep_checkpoints: 5}", "train: 'keep_checkpoints' does nothing with "
         "'save_every: never'. Leave one of them out."),
        ("description: 5", "description must be text, not 5. Put it in quotes."),
        ("callbacks: [{patience: 3}]", "callbacks[0] needs 'name', which is missing."),
        ("seed: -1", "seed must be at least 0, not -1."),
    ],
)  # fmt: skip
def test_a_mistake_is_reported_with_file_and_line(write, line, complaint):
    assert problems(write(RECIPE + line + "\n")) == [f"ctr.yaml:7: {complaint}"]


@pytest.mark.parametrize(
    ("setting", "place"),
    [
        ("missing_values: [{word}]", "data.missing_values[0]"),
        ("missing_values: {{rating: ['-', {word}]}}", "data.missing_values.rating[1]"),
        ("events: {{positive: [{word}]}}", "data.events.positive[0]"),
    ],
)
@pytest.mark.parametrize(
    ("word", "read", "quoted"),
    [("NULL", "null", "NULL"), ("true", "true", "true"), ("False", "false", "false"), ("~", "null", "NULL")],
)
def test_a_word_that_yaml_reads_as_something_else_must_be_quoted(write, setting, place, word, read, quoted):
    text = RECIPE.replace("data:\n", f"data:\n  {setting.format(word=word)}\n")
    assert problems(write(text)) == [
        f"ctr.yaml:3: {place}: without quotes, YAML reads the word as {read}. Put it in quotes, such as '{quoted}'."
    ]
    text = RECIPE.replace("data:\n", f"data:\n  {setting.format(word=repr(word))}\n")
    load_recipe(write(text))


def test_mistakes_deep_in_sections_keep_their_own_lines(write):
    text = RECIPE.replace("data:\n", "data:\n  split:\n    by: tiem\n    tset: 0.1\n")
    assert problems(write(text)) == [
        "ctr.yaml:4: data.split.by must be one of time, last, random, column, not 'tiem'. Did you mean 'time'?",
        "ctr.yaml:5: data.split has no setting 'tset'. Did you mean 'test'? "
        "Settings: by, column, disjoint, test, train_rows, users, validation.",
    ]


def test_a_missing_section_names_the_file(write):
    assert problems(write(RECIPE.replace("head: ctr\n", ""))) == [
        "ctr.yaml: the recipe needs 'head', which is missing."
    ]


def test_a_recipe_given_in_python_is_named_by_path():
    values = {"name": "x", "data": {"source": "a", "split": {"by": "tim"}}, "backbone": "b", "adapter": "c"}
    assert problems(values | {"head": "d"}) == [
        "recipe: data.split.by must be one of time, last, random, column, not 'tim'. Did you mean 'time'?"
    ]


def test_mistakes_of_overrides_follow_those_of_the_file(write):
    assert problems(write(RECIPE + "seed: x\n"), ["train.epochs=no", "oops"]) == [
        "ctr.yaml:7: seed must be a whole number, not 'x'.",
        "override 'train.epochs=no': train.epochs must be a whole number, not 'no'.",
        "override 'oops': there is no '='. Write key=value, such as train.epochs=2.",
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (RECIPE + "head: rating\n", "ctr.yaml:7: 'head' is given twice (first on line 6). Keep one."),
        ("name: [a\nseed: 1\n", "ctr.yaml:2: this is not valid YAML: expected ',' or ']', but got ':'."),
        ("", "ctr.yaml: the file is empty. A recipe begins with 'name: ...'; see 'lorarec recipes'."),
        ("- a\n", "ctr.yaml: the file does not hold settings. "
         "A recipe begins with 'name: ...'; see 'lorarec recipes'."),
        ("name: x\n5: y\n", "ctr.yaml:2: a key must be text; put it in quotes."),
        ("name: !!python/name:os.system\n", "ctr.yaml:1: the tag tag:yaml.org,2002:python/name:os.system "
         "is not allowed in a recipe. Remove it."),
        ("name: &a [*a]\n", "ctr.yaml:1: an anchor refers to itself."),
        ("name: x\na: !!set {x}\n", "ctr.yaml:2: the tag tag:yaml.org,2002:set is not allowed in a recipe. Remove it."),
        ("name: x\nseed: !!int x\n", "ctr.yaml:2: 'x' cannot be read as a whole number."),
        ("name: x\nseed: !!int ''\n", "ctr.yaml:2: '' cannot be read as a whole number."),
        ("name: !!bool maybe\n", "ctr.yaml:1: 'maybe' cannot be read as true or false."),
        ("seed: " + 5000 * "9", f"ctr.yaml:1: '{40 * '9'}' cannot be read as a whole number."),
        (BOMB, "ctr.yaml: a recipe has at most 5,000 values, aliases included."),
        ("name: " + "[" * 200, "ctr.yaml:1: sections are nested more than 100 deep."),
    ],
)  # fmt: skip
def test_text_that_is_no_recipe_is_refused_with_its_line(write, text, complaint):
    assert problems(write(text)) == [complaint]


def test_text_in_another_encoding_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.yaml").write_bytes(b"name: caf\xe9\n")
    assert problems("old.yaml") == ["old.yaml: byte 9 is not UTF-8 text. Save the file as UTF-8."]


def test_extends_merges_one_recipe_over_another(write):
    write(RECIPE + "train: {epochs: 2, batch_size: 8}\n", "below.yaml")
    recipe = load_recipe(write("extends: below.yaml\nadapter: prefix\ntrain: {epochs: 5}\n")).recipe
    assert (recipe.train.epochs, recipe.train.batch_size) == (5, 8)
    assert (recipe.adapter.name, recipe.adapter.options) == ("prefix", {})


def test_extends_keeps_a_plugins_options_if_the_name_stays(write):
    write(RECIPE, "below.yaml")
    recipe = load_recipe(write("extends: below.yaml\nadapter: {alpha: 3}\n")).recipe
    assert recipe.adapter.options == {"r": 8, "alpha": 3}


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("{label_smoothing: 0.1}", {"name": "bce", "label_smoothing": 0.1}),
        ("{name: bce, label_smoothing: 0.1}", {"name": "bce", "label_smoothing": 0.1}),
        ("ranking", "ranking"),
    ],
)
def test_extends_keeps_or_replaces_a_loss_as_it_does_a_plugin(write, loss, expected):
    write(RECIPE.replace("head: ctr", "head: {name: ctr, loss: bce}"), "below.yaml")
    above = load_recipe(write(f"extends: below.yaml\nhead: {{loss: {loss}}}\n"))
    assert above.document.get(("head", "loss")) == expected
    write(RECIPE.replace("head: ctr", "head: {name: ctr, loss: {name: huber, delta: 2}}"), "below.yaml")
    again = load_recipe(write("extends: below.yaml\nhead: {loss: {name: bce}}\n"))
    assert again.document.get(("head", "loss")) == {"name": "bce"}


def test_a_mistake_in_an_extended_recipe_names_that_file(write):
    write(RECIPE + "seed: x\n", "below.yaml")
    assert problems(write("extends: below.yaml\ntrain: {epohcs: 5}\n"))[0].startswith("below.yaml:7: seed ")
    assert problems(write("extends: below.yaml\ntrain: {epohcs: 5}\n"))[1].startswith("ctr.yaml:2: train has no")


def test_recipes_may_not_extend_each_other_in_a_circle(write):
    write("extends: ctr.yaml\n", "below.yaml")
    assert problems(write("extends: below.yaml\n")) == [
        "below.yaml:1: recipes extend each other in a circle: ctr.yaml -> below.yaml -> ctr.yaml."
    ]


def test_extends_of_a_missing_file_is_reported_with_its_line(write):
    assert problems(write("name: x\nextends: belwo.yaml\n"))[0].startswith("ctr.yaml:2: There is no recipe file ")


def test_a_recipe_is_found_by_name_in_a_plugins_folder(write):
    folder = write(RECIPE, "theirs.yaml").parent
    assert load_recipe("theirs", folders=[folder]).path == folder / "theirs.yaml"


def test_an_unknown_name_gets_the_nearest_one(write):
    folder = write(RECIPE, "theirs.yaml").parent
    assert problems("thiers", folders=[folder])[0].startswith("There is no recipe 'thiers'. Did you mean 'theirs'?")


def test_a_missing_file_gets_the_nearest_one(write):
    write(RECIPE)
    assert problems("crt.yaml") == ["There is no recipe file crt.yaml. Did you mean 'ctr.yaml'?"]


def test_two_recipes_of_one_name_are_refused(write, tmp_path):
    (tmp_path / "more").mkdir()
    write(RECIPE, "theirs.yaml"), write(RECIPE, "more/theirs.yaml")
    with pytest.raises(RecipeError, match="Several recipes are named 'theirs'"):
        find_recipe("theirs", [tmp_path, tmp_path / "more"])


def test_bundled_recipes_are_those_of_the_checkout():
    assert (bundled_folder().parent / "pyproject.toml").is_file()


@pytest.mark.parametrize(
    "value",
    [1, 1e-5, 1e22, float("inf"), "1e-3", "no", "12:30", "007", "0o7", "1_000", "2020-01-01", "=", "<<", "null",
     None, True, "é", "日本 😀", "", "x: #y", "- x", "{title} ({year})", "two\nlines\n", "\ttab", "a\\b " * 99, "~",
     [], {}],
    ids=repr,
)  # fmt: skip
def test_what_is_written_reads_back_the_same(tmp_path, value):
    values = {"name": "x", "a": [value, [value]], "b": {"c": value}}
    (tmp_path / "x.yaml").write_text(write_yaml(values), encoding="utf-8")
    read = load_recipe(tmp_path / "x.yaml").document.values
    assert read == values
    assert type(read["a"][0]) is type(value)


def test_a_setting_that_was_renamed_is_refused_with_its_new_name(write, monkeypatch):
    monkeypatch.setattr(TrainSection, "renamed", {"rounds": "epochs"})
    (line,) = problems(write(RECIPE + "train:\n  rounds: 4\n"))
    assert line == "ctr.yaml:8: train has no setting 'rounds': it is called 'epochs' now."


def test_an_override_of_a_text_setting_is_taken_as_text_unless_quoted(write):
    for written, read in {"{title}. {genre}": "{title}. {genre}", "017": "017", "'x # y'": "x # y", "[a": "[a"}.items():
        loaded = load_recipe(write(RECIPE), [f"description={written}", f"data.item_text={written}"])
        assert loaded.recipe.description == loaded.recipe.data.item_text == read
    assert load_recipe(write(RECIPE), ["data.item_text=null"]).recipe.data.item_text is None
