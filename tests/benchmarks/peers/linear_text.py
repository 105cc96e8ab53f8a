"""The peer for tasks on text alone: linear models on TF-IDF and on frozen MiniLM vectors, as scikit-learn has them.

`pairs`: logistic regression on the difference of two headlines. `stars`: ridge regression on a review's title and text,
in five folds by user. Rows and parts are those of the sources `ab_tests` and `reviews`, so that both sides are
evaluated on the same ones; the penalty is chosen on validation rows, and test is read once. Prints a JSON line for each
model, with a 95% interval by bootstrapping tests or users. `python -m peers.linear_text pairs --data FOLDER`
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from scipy.sparse import issparse, vstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from transformers import AutoModel, AutoTokenizer

from lorarec.data.raw_tables import as_arrow
from lorarec_backbones.minilm import packaged_folder
from lorarec_sources.ab_tests import AbTestsSource
from lorarec_sources.reviews import ReviewsSource

DECIDED = 1.96
PENALTIES = np.geomspace(0.03, 30, 10)
DRAWS = 2000
Matrix = Any


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("pairs", "stars"))
    parser.add_argument("--data", type=Path, required=True, help="folder with packages.parquet or reviews.parquet")
    parser.add_argument("--max-length", type=int, default=96, help="tokens that MiniLM reads")
    return parser.parse_args()


def tfidf(training: list[str], texts: list[str]) -> Matrix:
    """[n, F] sparse TF-IDF of words and pairs of words that at least two training texts have."""
    return TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True).fit(training).transform(texts)


def minilm(texts: list[str], max_length: int) -> np.ndarray:
    """[n, 384] mean vectors of frozen MiniLM, each dimension with mean 0 and standard deviation 1."""
    tokenizer = AutoTokenizer.from_pretrained(packaged_folder())
    model = AutoModel.from_pretrained(packaged_folder(), add_pooling_layer=False, dtype=torch.bfloat16).eval()
    order = np.argsort([len(text) for text in texts])
    vectors = np.zeros((len(texts), 384))
    for rows in np.array_split(order, len(texts) // 128 + 1):
        batch = tokenizer(
            [texts[row] for row in rows], padding=True, truncation=True, max_length=max_length, return_tensors="pt"
        )
        mask = batch["attention_mask"][..., None]
        with torch.inference_mode():
            hidden = model(**batch).last_hidden_state.float() * mask
        vectors[rows] = (hidden.sum(dim=1) / mask.sum(dim=1)).numpy()
    vectors -= vectors.mean(axis=0)
    vectors /= vectors.std(axis=0) + 1e-6
    return vectors


def interval(values: np.ndarray, groups: list[str], statistic: Callable[[float], float]) -> list[float]:
    """95% interval of a statistic of the mean of `values` [n], by bootstrapping whole groups."""
    _, group = np.unique(groups, return_inverse=True)
    sums, counts = np.bincount(group, weights=values), np.bincount(group)
    drawn = np.random.default_rng(0).integers(0, len(counts), (DRAWS, len(counts)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return [round(statistic(float(bound)), 4) for bound in np.quantile(means, (0.025, 0.975))]


def pairs(args: argparse.Namespace) -> None:
    """Which of two headlines is better: trained on decided pairs, or on all pairs weighted by their difference."""
    tables = AbTestsSource(AbTestsSource.Config(path=str(args.data))).load()
    assert tables.items is not None
    texts = tables.items["title"][:]
    row_of = {text: row for row, text in enumerate(texts)}
    rows = as_arrow(tables.interactions).to_pylist()
    part = np.array([row["split"] for row in rows])
    lead = np.array([row["rating"] for row in rows])
    first, second = np.array([(row_of[row["item"]], row_of[row["history"][0]]) for row in rows]).T
    train, test = part == "train", part == "test"
    held_out = ~train & ~test
    training = sorted(set(first[train]) | set(second[train]))
    for name, matrix in {
        "tfidf": tfidf([texts[row] for row in training], texts),
        "minilm": minilm(texts, args.max_length),
    }.items():
        difference = matrix[first] - matrix[second]
        for rows_used, weight in (("decided", (abs(lead) > DECIDED) * 1.0), ("all", np.minimum(abs(lead), 3.0))):
            chosen = train & (weight > 0)

            def correct(penalty: float, x: Matrix = difference, w: np.ndarray = weight, on: Any = chosen) -> np.ndarray:
                # Each pair in both orders: the order of the headlines has no information.
                both = vstack([x[on], -x[on]]) if issparse(x) else np.concatenate([x[on], -x[on]])
                model = LogisticRegression(C=1 / penalty, fit_intercept=False, max_iter=500)
                model.fit(both, np.concatenate([lead[on] > 0, lead[on] < 0]), np.tile(w[on], 2))
                right: np.ndarray = (model.decision_function(x) > 0) == (lead > 0)
                return right

            scale = 1.0 if name == "tfidf" else 1000.0
            best = max((float(correct(p * scale)[held_out].mean()), p * scale) for p in PENALTIES)
            right = correct(best[1])[test].astype(np.float64)
            bounds = interval(right, [row["user"] for row, is_test in zip(rows, test, strict=True) if is_test], float)
            report(f"{name}, {rows_used} pairs", best, float(right.mean()), bounds)


def stars(args: argparse.Namespace) -> None:
    """Stars from title and text: errors of all five folds."""
    errors: dict[str, list[np.ndarray]] = {}
    users: list[str] = []
    penalties: dict[str, list[float]] = {}
    vectors: np.ndarray | None = None
    for fold in range(1, 6):
        tables = ReviewsSource(ReviewsSource.Config(path=str(args.data), fold=fold)).load()
        assert tables.items is not None
        texts = [f"{row['review_title']}. {row['review_text']}" for row in tables.items.to_list()]
        part, rating = (np.array(as_arrow(tables.interactions).column(name)) for name in ("split", "rating"))
        vectors = minilm(texts, args.max_length) if vectors is None else vectors
        train, held_out, test = (part == name for name in ("train", "validation", "test"))
        words = tfidf([texts[row] for row in np.flatnonzero(train)], texts)
        users += as_arrow(tables.interactions).column("user").filter(pa.array(test)).to_pylist()
        for name, matrix, scale in (("tfidf", words, 0.3), ("minilm", vectors, 1000.0)):

            def squares(
                penalty: float, fitted: np.ndarray, tested: np.ndarray, x: Matrix = matrix, y: np.ndarray = rating
            ) -> np.ndarray:
                predicted = Ridge(alpha=penalty).fit(x[fitted], y[fitted]).predict(x[tested])
                off: np.ndarray = np.clip(predicted, 1, 5) - y[tested]
                return off**2

            best = min((float(squares(p * scale, train, held_out).mean()), p * scale) for p in PENALTIES)
            penalties.setdefault(name, []).append(best[1])
            errors.setdefault(f"{name}, trained on train", []).append(squares(best[1], train, test))
            errors.setdefault(f"{name}, trained on train and validation", []).append(squares(best[1], ~test, test))
    for name, folds in errors.items():
        each = [round(float(np.sqrt(fold.mean())), 4) for fold in folds]
        together = np.concatenate(folds)
        bounds = interval(together, users, lambda mean: float(np.sqrt(mean)))
        report(name, penalties[name.split(",")[0]], float(np.sqrt(together.mean())), bounds, folds=each)


def report(model: str, chosen: Any, value: float, bounds: list[float], **more: Any) -> None:
    """Print one JSON line."""
    line = {"model": model, "chosen": chosen, "test": round(value, 4), "interval": bounds, **more}
    print(json.dumps({**line, "cpu_seconds": round(time.process_time(), 1)}), flush=True)


if __name__ == "__main__":
    given = options()
    (pairs if given.task == "pairs" else stars)(given)
