"""Early stopping: end training when validation has not improved for a while."""

from __future__ import annotations

from lorarec.contracts import Callback, StrictConfig, TrainState


class EarlyStopping(Callback):
    """Stops after `patience` evaluations without a better value of the first metric."""

    name = "early_stopping"
    summary = "stop when validation no longer improves"

    class Config(StrictConfig):
        """See `evaluate.patience`."""

        patience: int
        """Evaluations without a better one to wait for."""

    config: Config

    def on_evaluation_end(self, state: TrainState) -> None:
        if state.evaluations_since_best >= self.config.patience:
            state.stop = True
            state.stop_reason = (
                f"no better value on validation in {state.evaluations_since_best} evaluations "
                f"(best at step {state.best_step})"
            )
