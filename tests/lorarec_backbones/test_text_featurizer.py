"""How views become token ids."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
import transformers
from pydantic import ValidationError

from lorarec.contracts import Catalog, DataError, View, cache_folder
from lorarec_backbones.item_tokens import item_tokens
from lorarec_backbones.templates import Templates
from lorarec_backbones.text import TextBackbone
from lorarec_backbones.text_featurizer import TextFeaturizer

Build = Callable[..., TextBackbone]
Make = Callable[..., Catalog]


def ids(featurizer: TextFeaturizer, view: View) -> list[int]:
    """Token ids of one view."""
    return list(featurizer([view])["input_ids"][0].tolist())


@pytest.fixture
def bert(tiny_checkpoint: Callable[[str], Path]) -> Any:
    """BERT's tokenizer, used directly."""
    return transformers.AutoTokenizer.from_pretrained(tiny_checkpoint("bert"))


def test_assembled_pieces_equal_the_whole_text_tokenized_at_once(text: Build, catalog: Catalog, bert: Any) -> None:
    featurizer = text().featurizer(catalog, 128)
    item = "old lamp, a small new story"
    history = "liked: Quick Fox, blue chair (1995); disliked: Red Shoe; seen: day"
    past = {"history": (0, 2, 3, 5), "liked": (1, 0, 1, -1)}
    assert ids(featurizer, View(candidate=1)) == bert(item)["input_ids"]
    assert ids(featurizer, View(**past)) == bert(history)["input_ids"]
    assert ids(featurizer, View(**past, candidate=1)) == bert(item, history)["input_ids"]
    assert ids(featurizer, View()) == bert("nothing yet")["input_ids"]


def test_a_byte_level_tokenizer_sees_the_blank_in_front_of_a_listed_title(
    text: Build, make: Make, tiny_checkpoint: Callable[[str], Path]
) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_checkpoint("gpt2"))
    featurizer = text("gpt2").featurizer(make(["the night", "the day", "story"]), 128)
    view = View(history=(0, 1), liked=(1, 1), candidate=2)
    whole = "story\nliked: the night, the day"
    assert len(tokenizer(" the")["input_ids"]) < 1 + len(tokenizer("the")["input_ids"])
    assert ids(featurizer, view) == tokenizer(whole)["input_ids"]


def test_templates_decide_what_is_written(text: Build, catalog: Catalog, bert: Any) -> None:
    templates = {
        "item": "story {title}",
        "listed": "{text}",
        "seen": "the {items} again",
        "between_items": " and ",
        "history": "dog: {history}!",
        "pair": "{history}{separator}film {candidate}?",
    }
    featurizer = text(templates=templates).featurizer(catalog, 128)
    listed = "the day, a small new story and Quick Fox, a small new story again"
    assert ids(featurizer, View(history=(5, 0))) == bert(f"dog: {listed}!")["input_ids"]
    pair = View(history=(5, 0), candidate=2)
    assert ids(featurizer, pair) == bert(listed, "film story Red Shoe?")["input_ids"]


def test_a_title_that_spells_a_special_token_does_not_become_one(text: Build, make: Make) -> None:
    separator = 3
    tokens = ids(text().featurizer(make(["red [SEP] shoe"]), 128), View(candidate=0))
    assert tokens.count(separator) == 1


def test_the_longest_view_of_a_call_sets_its_width_and_padding_is_on_the_right(
    text: Build, catalog: Catalog, views: list[View]
) -> None:
    featurizer = text().featurizer(catalog, 128)
    features = featurizer(views)
    lengths = [featurizer.length(view) for view in views]
    assert set(features) == {"input_ids", "attention_mask"}
    assert features["input_ids"].shape == (len(views), max(lengths))
    assert features["attention_mask"].sum(dim=1).tolist() == lengths
    for row, length in enumerate(lengths):
        assert features["attention_mask"][row, :length].all()
        assert (features["input_ids"][row, length:] == 0).all()


@pytest.mark.parametrize("max_length", range(9, 60))
def test_a_view_that_does_not_fit_loses_its_oldest_events_and_never_the_candidate(
    text: Build, catalog: Catalog, bert: Any, max_length: int
) -> None:
    titles = catalog.titles()
    history, liked = (0, 1, 2, 3, 4, 5), (1, 0, 0, 1, 1, 0)
    featurizer = text(templates={"item": "{title}"}).featurizer(catalog, max_length)
    tokens = ids(featurizer, View(history=history, liked=liked, candidate=5))
    assert len(tokens) <= max_length

    def written(kept: int) -> str:
        events = list(zip(history, liked, strict=True))[len(history) - kept :]
        parts = [
            f"{word}: " + ", ".join(titles[item] for item, flag in events if flag == value)
            for word, value in (("liked", 1), ("disliked", 0))
            if any(flag == value for _, flag in events)
        ]
        return "; ".join(parts)

    whole = [bert("day", written(kept))["input_ids"] for kept in range(1, 7)]
    if tokens in whole:
        kept = whole.index(tokens) + 1
        overhead = len(bert("liked:; ", add_special_tokens=False)["input_ids"])
        assert kept == 6 or len(whole[kept]) > max_length - overhead, "tokens were left unused"
    else:
        assert max_length < len(whole[0]) + len(bert("liked:;", add_special_tokens=False)["input_ids"])
        assert tokens[:3] == [*bert("day")["input_ids"][:2], 3], "the candidate stays"


def test_items_that_lose_their_end_are_counted(text: Build, make: Make) -> None:
    catalog = make(["day", "red " * 40, "blue " * 9])
    featurizer = text().featurizer(catalog, 20)
    assert featurizer.cut_items == 1
    assert featurizer.length(View(candidate=1)) == 20
    assert ids(featurizer, View(candidate=1))[-1] == 3, "the closing special token stays"


def test_a_candidate_that_does_not_fit_alone_is_cut(text: Build, make: Make) -> None:
    featurizer = text().featurizer(make(["red " * 40, "day"]), 20)
    tokens = ids(featurizer, View(history=(1,), candidate=0))
    assert len(tokens) == 20
    assert tokens[-2:] == [3, 3], "both separators stay"


def test_the_recipes_length_applies_where_the_encoder_could_take_more(text: Build, make: Make) -> None:
    featurizer = text(max_length=16).featurizer(make(["red " * 40]), 128)
    assert featurizer.length(View(candidate=0)) == 16


def test_a_pickled_featurizer_gives_the_same_without_the_catalog(text: Build, make: Make, views: list[View]) -> None:
    featurizer = text().featurizer(make([f"film {row}" for row in range(5000)]), 128)
    packed = pickle.dumps(featurizer)
    assert len(packed) < 10_000
    again = pickle.loads(packed)
    assert torch.equal(again(views)["input_ids"], featurizer(views)["input_ids"])


def test_a_catalog_is_tokenized_once(text: Build, make: Make, bert: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = make(["a film that was cached", "a dog"])
    first = item_tokens(catalog, "{title}", "", bert)
    monkeypatch.setattr("lorarec_backbones.item_tokens.tokenize", lambda *_: pytest.fail("tokenized again"))
    again = item_tokens(catalog, "{title}", "", bert)
    assert [again[row].tolist() for row in range(2)] == [first[row].tolist() for row in range(2)]


def test_other_texts_templates_or_tokenizers_do_not_share_a_cache(
    make: Make, bert: Any, tiny_checkpoint: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    gpt2 = transformers.AutoTokenizer.from_pretrained(tiny_checkpoint("gpt2"))
    catalog, other = make(["red", "shoe"]), make(["red s", "hoe"])
    for each in (
        item_tokens(catalog, "{title}", "", bert),
        item_tokens(catalog, "{title}", " ", bert),
        item_tokens(catalog, "a {title}", "", bert),
        item_tokens(catalog, "{title}", "", gpt2),
        item_tokens(other, "{title}", "", bert),
    ):
        assert len(each) == 2
    assert len(list((cache_folder() / "item_tokens").iterdir())) == 5


def test_tokens_of_many_items_stay_separate_across_chunks(
    make: Make, bert: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lorarec_backbones.item_tokens.CHUNK", 3)
    titles = [f"film {row}" for row in range(10)]
    tokens = item_tokens(make(titles), "{title}", "", bert)
    assert [tokens[row].tolist() for row in range(10)] == bert(titles, add_special_tokens=False)["input_ids"]
    assert tokens.lengths(np.array([3, 9])).tolist() == [len(tokens[3]), len(tokens[9])]


def test_an_item_without_words_is_named(text: Build, make: Make) -> None:
    with pytest.raises(DataError, match=r"'i1' has no words in the template 'item' \(2 such items\)"):
        text().featurizer(make(["a", "b", "c"], ["red", "  ", ""]), 128)


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("item", "{titel}", "unknown field {titel}. Did you mean 'title'?"),
        ("item", "no field", "every item would read the same"),
        ("liked", "liked", "must have the field {items} once"),
        ("pair", "{candidate}", "must have the field {history} once"),
        ("pair", "{candidate}{candidate}{history}", "must have the field {candidate} once"),
        ("item", "{text:>10}", "takes no format or conversion; write {text}"),
        ("item", "{text", "is not well formed"),
        ("itme", "{text}", "Extra inputs are not permitted"),
    ],
)
def test_a_wrong_template_is_refused(setting: str, value: str, message: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        Templates(**{setting: value})
    assert message in str(refusal.value)


def test_a_users_columns_are_written_where_the_template_names_them(text: Build, catalog: Catalog, bert: Any) -> None:
    templates = {
        "history": "age {user.age}: {history}",
        "pair": "{candidate}{separator}{user.job} {user.age}: {history}",
    }
    backbone = text(templates=templates)
    assert backbone.user_columns() == ("age", "job")
    featurizer = pickle.loads(pickle.dumps(backbone.featurizer(catalog, 128)))
    seen = "seen: day"
    assert ids(featurizer, View((5,), user=("24", "cook"))) == bert(f"age 24: {seen}")["input_ids"]
    pair = View((5,), candidate=5, user=("24", "cook"))
    assert ids(featurizer, pair) == bert("day, a small new story", f"cook 24: {seen}")["input_ids"]
    assert ids(featurizer, pair._replace(user=("", ""))) == bert("day, a small new story", f": {seen}")["input_ids"]
    alone = View(candidate=5, user=("24", ""))
    assert ids(featurizer, alone) == bert("day, a small new story", "24: nothing yet")["input_ids"]
    assert featurizer.length(pair) == len(ids(featurizer, pair))


@pytest.mark.parametrize("model_type", ["gpt2", "llama"])
def test_a_users_tokens_equal_those_of_the_whole_text_also_for_byte_level_tokenizers(
    model_type: str, text: Build, catalog: Catalog, tiny_checkpoint: Callable[[str], Path]
) -> None:
    featurizer = text(model_type, templates={"history": "user {user.age} {history}"}).featurizer(catalog, 128)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_checkpoint(model_type))
    tokens = [i for i in ids(featurizer, View((5,), user=("old",))) if i not in tokenizer.all_special_ids]
    assert tokenizer.decode(tokens) == "user old seen: day"


def test_a_long_portrait_leaves_half_of_the_tokens_to_the_history(text: Build, catalog: Catalog) -> None:
    featurizer = text(templates={"history": "{user.portrait} {history}"}).featurizer(catalog, 24)
    tokens = ids(featurizer, View((5,), user=("day " * 60,)))
    assert len(tokens) <= 24
    assert featurizer.length(View((5,), user=("day " * 60,))) - featurizer.length(View((5,))) == 11


def test_a_field_that_is_no_column_of_users_is_refused_in_a_template() -> None:
    for template in ("{age}: {history}", "{user.}: {history}", "{users.age}: {history}"):
        with pytest.raises(ValidationError, match=r"unknown field.*\{user\.COLUMN\}"):
            Templates(history=template)
    with pytest.raises(ValidationError, match="unknown field"):
        Templates(item="{text} {user.age}")
