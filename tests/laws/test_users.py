"""What is known of users: read by templates, changes the answers, comes with a request, and stays in no run folder."""

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
    """Rows with their own histories, of 20 users, of whom 16 have a row in the users' table."""
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
    asked = [row for row in rows if row["split"] == "test"]
    known = [{"age": AGES[row["user"]]} if row["user"] in AGES else None for row in asked]
    found = trained.predict([row["item"] for row in asked], [row["history"] for row in asked], users=known)
    kept = pq.read_table(trained.path / "test_scores.parquet").column("score").to_numpy()
    assert np.allclose(found, kept, atol=1e-6)
    without = trained.predict([row["item"] for row in asked], [row["history"] for row in asked])
    described_rows = np.array([user is not None for user in known])
    assert (np.abs(without - found)[described_rows] > 1e-6).any()
    assert np.allclose(without[~described_rows], found[~described_rows], atol=1e-6), "who has no row reads as nothing"


def test_recommendations_read_the_user_too(trained: Recommender) -> None:
    asked = [["i1"], ["i1"]]
    young, old = trained.recommend(asked, k=11, users=[{"age": "20 years"}, {"age": "35 years"}])
    assert {found.item: found.score for found in young} != {found.item: found.score for found in old}
    scores = trained.predict([found.item for found in young], [["i1"]] * 11, users=[{"age": "20 years"}] * 11)
    assert np.allclose(scores, [found.score for found in young], atol=1e-6)


def test_a_request_file_has_the_users_columns_and_what_is_lacking_is_said(trained: Recommender, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("item,history,user.age,user.shoe\ni1,i2,20 years,44\ni1,i2,35 years,44\n")
    (tmp_path / "b.csv").write_text("item,history\ni1,i2\n")
    told = predict_file(trained, tmp_path / "a.csv", tmp_path / "a.jsonl")
    assert any("the run does not read user.shoe" in line for line in told)
    scores = [json.loads(line)["score"] for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert scores[0] != scores[1]
    told = predict_file(trained, tmp_path / "b.csv", tmp_path / "b.jsonl")
    assert any("no column 'user.age': users are read without it" in line for line in told)


def test_ids_of_users_are_refused_for_the_run_keeps_nothing_of_them(trained: Recommender) -> None:
    with pytest.raises(lorarec.LorarecError, match=r"'u1' does not describe a user.*'age': "):
        trained.predict(["i1"], [["i2"]], users=["u1"])  # type: ignore[list-item]
    words = [path for path in trained.path.rglob("*") if path.is_file() and b"years" in path.read_bytes()]
    assert words == [] and not (trained.path / "users.parquet").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"head": "ctr"}, "head 'ctr' with these settings reads no view"),
        ({"templates": {"history": "{user.age}: {history}"}}, "head 'ctr' with these settings reads no view"),
        (
            {"templates": TEMPLATES | {"history": "{user.age} {user.user}: {history}"}},
            "name {user.user}, but head 'ctr' with these settings reads no view",
        ),
        ({"templates": {"pair": "{candidate} {user.aeg} {history}"}}, "Did you mean 'age'?"),
        ({"templates": {"pair": "{candidate} {age} {history}"}}, "unknown field {age}"),
        ({"templates": {}, "users": "users.csv"}, "nothing reads the users' table"),
    ],
)
def test_what_would_do_nothing_is_refused_by_name(
    change: dict[str, Any], says: str, made: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(lorarec.LorarecError) as caught:
        lorarec.train(made(**change), output=tmp_path / "run")
    assert says in str(caught.value)


def test_a_history_read_as_text_begins_with_its_user(made: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    recipe = made({"history": "{user.age}: {history}"}, head={"name": "next_item", "encoder": "backbone", "width": 16})
    run = lorarec.train(recipe, output=tmp_path / "run")
    young, old = run.recommend([["i1"]] * 2, k=11, users=[{"age": "20 years"}, {"age": "35 years"}])
    assert {found.item: found.score for found in young} != {found.item: found.score for found in old}
