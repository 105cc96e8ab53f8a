"""Names of the columns lorarec knows, in one place."""

from __future__ import annotations

USER = "user"
ITEM = "item"
TIME = "time"
RATING = "rating"
CLICK = "click"
HISTORY = "history"
HISTORY_FEEDBACK = "history_feedback"
SPLIT = "split"

KNOWN = (USER, ITEM, TIME, RATING, CLICK, HISTORY, HISTORY_FEEDBACK, SPLIT)
