"""User attributes: templates and predictions use them, requests contain them, run folders do not store them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import lorarec
from lorarec.inference.answer_files import predict_file
from lorarec.inference.recommender import Recommender

AGES = {f"u{user}": f"{user + 20} years" for user in range(16)}
TEMPLATES = {"pair": "{candidate}{separator}{user.age} {history}", "history": "{user.age}: {history}"}


@pytest.fixture(scope="session")
def described(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows with histories, of 20 users; 16 of them have a row in the users' table."""
    folder, draw = tmp_path_factory.mktemp("described"), random.Random(3)
    rows = []
    for row in range(160):
        user, taken = f"u{draw.randrange(20)}", [f"i{draw.randrange(12)}" for _ in range(draw.randrange(4))]
        part = "train" if row < 100 else "validation" if row < 130 else "test"
        rows.append({"user": user, "item": f"i{draw.randrange(12)}", "history": taken, "click": row % 2, "split": part})
    (folder / "interactions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "items.csv").write_text("item,title\n" + "".join(f"i{item},lamp {item}\n" for item in range(12)))
    (folder / "users.csv").write_text("user,age\n" + "".join(f"{user},{age}\n" for user, age in AGES.items()))
    return folder


@pytest.fixture
def made(recipe: Callable[..., dict[str, Any]], described: Path) -> Callable[..., dict[str, Any]]:
    def build(templates: dict[str, str] = TEMPLATES, head: Any = None, **source: str) -> dict[str, Any]:
        made = recipe(head=head or {"name": "ctr", "encoding": "joint"}, train={"epochs": 1})
        made["data"] = {"source": {"name": "files", "path": str(described), **source}, "split": {"by": "column"}}
        made["backbone"]["templates"] = templates
        return made

    return build


@pytest.fixture
def trained(made: Callable[..., dict[str, Any]], tmp_path: Path) -> Recommender:
    lorarec.train(made(), output=tmp_path / "run")
    return lorarec.load(tmp_path / "run")


def test_a_finished_run_answers_as_its_evaluation_did(trained: Recommender, described: Path) -> None:
    rows = [json.loads(line) for line in (described / "interactions.jsonl").read_text().splitlines()]
    test = [row for row in rows if row["split"] == "test"]
    users = [{"age": AGES[row["user"]]} if row["user"] in AGES else None for row in test]
    scores = trained.predict([row["item"] for row in test], [row["history"] for row in test], users=users)
    stored = pq.read_table(trained.path / "test_scores.parquet").column("score").to_numpy()
    assert np.allclose(scores, stored, atol=1e-6)
    without = trained.predict([row["item"] for row in test], [row["history"] for row in test])
    described_rows = np.array([user is not None for user in users])
    assert (np.abs(without - scores)[described_rows] > 1e-6).any()
    assert np.allclose(without[~described_rows], scores[~described_rows], atol=1e-6), "a user without a row is empty"


def test_recommendations_read_the_user_too(trained: Recommender) -> None:
    histories = [["i1"], ["i1"]]
    young, old = trained.recommend(histories, k=11, users=[{"age": "20 years"}, {"age": "35 years"}])
    assert {entry.item: entry.score for entry in young} != {entry.item: entry.score for entry in old}
    scores = trained.predict([entry.item for entry in young], [["i1"]] * 11, users=[{"age": "20 years"}] * 11)
    assert np.allclose(scores, [entry.score for entry in young], atol=1e-6)


def test_a_request_file_has_the_users_columns_and_missing_ones_are_named(trained: Recommender, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("item,history,user.age,user.shoe\ni1,i2,20 years,44\ni1,i2,35 years,44\n")
    (tmp_path / "b.csv").write_text("item,history\ni1,i2\n")
    notices = predict_file(trained, tmp_path / "a.csv", tmp_path / "a.jsonl")
    assert any("the run does not read user.shoe" in line for line in notices)
    scores = [json.loads(line)["score"] for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert scores[0] != scores[1]
    notices = predict_file(trained, tmp_path / "b.csv", tmp_path / "b.jsonl")
    assert any("no column 'user.age': users are read without it" in line for line in notices)


def test_ids_of_users_are_refused_because_the_run_stores_nothing_about_them(trained: Recommender) -> None:
    with pytest.raises(lorarec.LorarecError, match=r"'u1' does not describe a user.*'age': "):
        trained.predict(["i1"], [["i2"]], users=["u1"])  # type: ignore[list-item]
    holding = [path for path in trained.path.rglob("*") if path.is_file() and b"years" in path.read_bytes()]
    assert holding == [] and not (trained.path / "users.parquet").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"head": "ctr"}, "head 'ctr' with these settings reads no text"),
        ({"templates": {"history": "{user.age}: {history}"}}, "head 'ctr' with these settings reads no text"),
        (
            {"templates": TEMPLATES | {"history": "{user.age} {user.user}: {history}"}},
            "name {user.user}, but head 'ctr' with these settings reads no text",
        ),
        ({"templates": {"pair": "{candidate} {user.aeg} {history}"}}, "Did you mean 'age'?"),
        ({"templates": {"pair": "{candidate} {age} {history}"}}, "unknown field {age}"),
        ({"templates": {}, "users": "users.csv"}, "nothing reads the users' table"),
    ],
)
def test_a_setting_without_effect_is_refused_by_name(
    change: dict[str, Any], says: str, made: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(lorarec.LorarecError) as caught:
        lorarec.train(made(**change), output=tmp_path / "run")
    assert says in str(caught.value)


def test_a_history_read_as_text_begins_with_its_user(made: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    recipe = made({"history": "{user.age}: {history}"}, head={"name": "next_item", "encoder": "backbone", "width": 16})
    run = lorarec.train(recipe, output=tmp_path / "run")
    young, old = run.recommend([["i1"]] * 2, k=11, users=[{"age": "20 years"}, {"age": "35 years"}])
    assert {entry.item: entry.score for entry in young} != {entry.item: entry.score for entry in old}
