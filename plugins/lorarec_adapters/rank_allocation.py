"""RankAllocation: AdaLoRA's per-step work, and the state of it that PEFT keeps in no `state_dict`."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor

from lorarec.contracts import Callback, IncompatibleError, TrainState

logger = logging.getLogger(__name__)


class RankAllocation(Callback):
    """After each optimizer step: update the importance of every weight, and zero the least important
    singular values when it is time. Logs `rank_budget`, the number of singular values that may differ from
    zero.

    The state is what the allocator remembers between steps: two moving averages per weight, and the pattern
    of ranks that the last phase holds fast.
    """

    name = "adalora_rank_allocation"
    summary = "moves AdaLoRA's ranks while training"

    def __init__(self, module: Any) -> None:
        super().__init__(self.Config())
        self._network = module
        self._peft_config: Any = self._network.peft_config[self._network.base_model.trainable_adapter_name]
        self._allocator: Any = self._network.base_model.rankallocator

    @property
    def settled_at(self) -> int:
        """The step from which the ranks stand."""
        return int(self._peft_config.total_step - self._peft_config.tfinal)

    def on_fit_start(self, state: TrainState) -> None:
        """Raises IncompatibleError if the run is not as long as the schedule was made for."""
        if state.total_steps != self._peft_config.total_step:
            raise IncompatibleError(
                f"Adapter 'adalora' was attached for {self._peft_config.total_step} optimizer steps, but "
                f"the run has {state.total_steps}. Attach it with the run's own number "
                "(TrainingPlan.total_steps)."
            )

    def on_optimizer_step(self, state: TrainState) -> None:
        """Update importances and allocate. Raises IncompatibleError for a target that got no gradient."""
        if state.step < self.settled_at:
            self._refuse_missing_gradients()
        self._network.base_model.update_and_allocate(state.step)
        state.logs["rank_budget"] = float(self._allocator.budget_schedule(state.step)[0])

    def on_fit_end(self, state: TrainState) -> None:
        """Say so if the weights that are kept come from before the ranks had come down to their target."""
        kept = state.step if state.best_step is None else state.best_step
        if kept < self.settled_at:
            logger.warning(
                "AdaLoRA: the weights kept are those of step %d, before the ranks came down to target_r=%d "
                "(step %d): the adapter is larger than asked for. A shorter run, or a smaller tinit or "
                "larger tfinal, gets there.",
                kept,
                self._peft_config.target_r,
                self.settled_at,
            )

    def state_dict(self) -> dict[str, Any]:
        """The two averages by weight, and the latest pattern of ranks."""
        return {
            "importance": {name: value.cpu() for name, value in self._allocator.exp_avg_ipt.items()},
            "uncertainty": {name: value.cpu() for name, value in self._allocator.exp_avg_unc.items()},
            "rank_pattern": self._peft_config.rank_pattern,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        devices = {name: p.device for name, p in self._network.base_model.model.named_parameters()}

        def placed(values: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: value.to(devices[name], copy=True) for name, value in values.items()}

        self._allocator.exp_avg_ipt = placed(state["importance"])
        self._allocator.exp_avg_unc = placed(state["uncertainty"])
        # The latest importance is computed anew at each step; PEFT only asks whether the name is there.
        self._allocator.ipt = {name: torch.zeros_like(v) for name, v in self._allocator.exp_avg_ipt.items()}
        self._peft_config.rank_pattern = state["rank_pattern"] or None

    def _refuse_missing_gradients(self) -> None:
        for name, parameter in self._network.named_parameters():
            if parameter.requires_grad and parameter.grad is None:
                raise IncompatibleError(
                    f"Adapter 'adalora': '{name}' got no gradient, so its importance cannot be known: the "
                    "backbone's forward does not use that layer. Leave it out of adapter.targets."
                )
