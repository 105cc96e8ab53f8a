"""HistoryFile: one line of JSON for each logged step and each evaluation."""

from __future__ import annotations

import json
import time
from pathlib import Path

from lorarec.contracts import Callback, TrainState


class HistoryFile(Callback):
    """Appends to history.jsonl; a resumed run first drops the lines written after the checkpoint it goes on from."""

    name = "history_file"
    summary = "write history.jsonl"

    def __init__(self, path: Path) -> None:
        super().__init__(self.Config())
        self.path = path
        self._started = time.perf_counter()

    def on_fit_start(self, state: TrainState) -> None:
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= state.step]
        self.path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def on_optimizer_step(self, state: TrainState) -> None:
        if "loss" in state.logs:
            self._append(state, {name: float(f"{value:.6g}") for name, value in state.logs.items()})

    def on_evaluation_end(self, state: TrainState) -> None:
        self._append(state, {f"validation_{name}": value for name, value in state.metrics.items()})

    def _append(self, state: TrainState, values: dict[str, float]) -> None:
        seconds = round(time.perf_counter() - self._started, 3)
        entry = {"step": state.step, "epoch": state.epoch, **values, "seconds": seconds}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
