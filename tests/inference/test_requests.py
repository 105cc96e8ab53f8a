"""Unknown ids are named, with the run's own spelling of the same number."""

from __future__ import annotations

import pytest
from datasets import Dataset

from lorarec.contracts import Catalog
from lorarec.inference.requests import UnknownIdWarning, item_rows


def test_an_unknown_number_is_named_with_the_spelling_that_the_run_has() -> None:
    catalog = Catalog(Dataset.from_dict({"item": ["007", "12"], "title": ["a", "b"], "text": ["a", "b"]}))
    with pytest.warns(UnknownIdWarning, match=r"2 unknown .*: 7 \(the run has '007': ids are text\), 8\.$"):
        assert item_rows(["12", "7", "8"], catalog).tolist() == [1, -1, -1]
