"""AdaLoRA: low-rank updates whose ranks move, while training, to the layers that need them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from peft import AdaLoraConfig, PeftConfig
from pydantic import Field, model_validator
from torch import Tensor, nn

from lorarec.contracts import (
    OWN_ADAPTER,
    Adapter,
    Architecture,
    Backbone,
    Callback,
    IncompatibleError,
    PeftAdapter,
    StrictConfig,
    Targets,
    TrainingPlan,
    TrainState,
    check_targets,
    find_targets,
    hookimpl,
)

Rank = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Decay = Annotated[float, Field(gt=0, lt=1)]
logger = logging.getLogger(__name__)


class AdaLora(PeftAdapter):
    """W x + (alpha / init_r) B diag(E) A x, E starting at zero: singular values of little importance are set
    to zero until each target keeps `target_r` of them on average.

    For the first `tinit` of the run every rank trains; then ranks are removed, more and more slowly, every `delta_t`
    steps; for the last `tfinal` the ranks are fixed and continue to train.
    """

    name = "adalora"
    summary = "low-rank updates whose ranks move to the layers that need them"
    paper = "Zhang et al., Adaptive Budget Allocation for Parameter-Efficient Fine-Tuning, ICLR 2023. https://arxiv.org/abs/2303.10512"

    class Config(StrictConfig):
        """Settings of AdaLoRA; tinit and tfinal are shares of the run, so that they fit any number of
        steps."""

        init_r: Rank = 12
        """Rank of every target at the start."""
        target_r: Rank = 4
        """Rank of a target at the end, on average."""
        alpha: Annotated[float, Field(gt=0)] | None = None
        """The update is scaled by alpha / init_r. Default: 2 * init_r."""
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
        """Dropout on the adapter's input while training."""
        targets: Targets = None
        """Names of linear layers (or the ends of their dotted names), or "all-linear". Default: the
        backbone's attention projections."""
        layers: Annotated[list[int], Field(min_length=1)] | None = None
        """Numbers of the blocks to adapt: 0 is the lowest, -1 the last. Default: all."""
        tinit: Share = 0.1
        """Share of the run before the first rank is removed."""
        tfinal: Annotated[float, Field(gt=0, lt=1)] = 0.3
        """Share of the run after the last rank is removed."""
        delta_t: Annotated[int, Field(ge=1)] = 1
        """Optimizer steps from one allocation to the next."""
        beta1: Decay = 0.85
        """Decay of the moving average of each weight's importance."""
        beta2: Decay = 0.85
        """Decay of the moving average of the uncertainty of that importance."""
        orthogonal_weight: Annotated[float, Field(ge=0)] = 0.5
        """Weight of the orthogonality penalty on A and B in the loss."""

        @model_validator(mode="after")
        def _consistent(self) -> AdaLora.Config:
            if self.target_r >= self.init_r:
                raise ValueError(f"target_r={self.target_r} must be below init_r={self.init_r}: nothing is allocated")
            if self.tinit + self.tfinal >= 1:
                raise ValueError(f"tinit={self.tinit} and tfinal={self.tfinal} leave no part of the run to allocate in")
            return self

    config: Config

    def check(self, architecture: Architecture) -> None:
        """Raise IncompatibleError if no targets are named and the backbone has no default."""
        check_targets(self.name, architecture, self.config.targets)

    def peft_config(self, backbone: Backbone, plan: TrainingPlan) -> PeftConfig:
        """Raises IncompatibleError for targets that match nothing, or a run that is too short for the schedule."""
        config = self.config
        tinit, tfinal = self._schedule(plan.total_steps)
        return AdaLoraConfig(
            init_r=config.init_r,
            target_r=config.target_r,
            lora_alpha=2 * config.init_r if config.alpha is None else config.alpha,
            lora_dropout=config.dropout,
            target_modules=find_targets(self.name, backbone, config.targets, config.layers),
            total_step=plan.total_steps,
            tinit=tinit,
            tfinal=tfinal,
            deltaT=config.delta_t,
            beta1=config.beta1,
            beta2=config.beta2,
            orth_reg_weight=config.orthogonal_weight,
        )

    def attach(self, backbone: Backbone, plan: TrainingPlan, name: str = OWN_ADAPTER) -> nn.Module:
        """A PeftModel; A, B and E train."""
        module = super().attach(backbone, plan, name)
        for parameter, weight in module.named_parameters():
            if ".ranknum." in parameter:  # a constant that PEFT's cast to float32 marks as trainable
                weight.requires_grad_(False)
        return module

    def penalty(self, module: nn.Module) -> Tensor | None:
        """[] mean over A and B of the Frobenius norm of A A' - I (B' B - I), times `orthogonal_weight`.

        PEFT adds it only if the wrapped model returns a loss, which encoders do not.
        """
        if self.config.orthogonal_weight == 0:
            return None
        norms = []
        for name, parameter in module.named_parameters():
            if parameter.requires_grad and (".lora_A." in name or ".lora_B." in name):
                rows = parameter if ".lora_A." in name else parameter.T
                with torch.autocast(parameter.device.type, enabled=False):
                    norms.append(torch.linalg.matrix_norm(rows @ rows.T - torch.eye(len(rows), device=rows.device)))
        return self.config.orthogonal_weight * torch.stack(norms).mean()

    def callbacks(self, module: nn.Module) -> Sequence[Callback]:
        """The allocation of ranks after each optimizer step; its moving averages are saved in checkpoints."""
        return [RankAllocation(module)]

    def save(self, module: nn.Module, folder: Path, name: str = OWN_ADAPTER) -> None:
        """Writes PEFT's files, with the removed ranks as zeros.

        PEFT would cut them out by the latest allocation, which may not be that of the current weights (the best
        checkpoint is an earlier one), and a product of other shapes may round differently.
        """
        config: Any = module.peft_config[self.known(module, name)]  # type: ignore[index]
        pattern, config.rank_pattern = config.rank_pattern, None
        try:
            super().save(module, folder, name)
        finally:
            config.rank_pattern = pattern

    def _schedule(self, total: int) -> tuple[int, int]:
        """Steps before the first and after the last allocation. Raises IncompatibleError if there is none in
        between."""
        config = self.config
        tinit, tfinal = round(config.tinit * total), max(1, round(config.tfinal * total))
        first = (tinit // config.delta_t + 1) * config.delta_t
        if first >= total - tfinal:
            raise IncompatibleError(
                f"Adapter 'adalora': in a run of {total} optimizer steps, there is none at which ranks are removed "
                f"with tinit={config.tinit}, tfinal={config.tfinal} and delta_t={config.delta_t}. "
                "Train longer (train.epochs, a smaller batch), or lower these; adapter=lora has no schedule."
            )
        return tinit, tfinal


class RankAllocation(Callback):
    """After each optimizer step: update the importance of every weight, and set the least important singular values to
    zero at the steps of the schedule. Logs `rank_budget`, the number of singular values that may differ from zero.

    The state is that of the allocator: two moving averages per weight, and the pattern of ranks that is fixed in the
    last phase.
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
        """The step from which the ranks are fixed."""
        return int(self._peft_config.total_step - self._peft_config.tfinal)

    def on_fit_start(self, state: TrainState) -> None:
        """Raises IncompatibleError if the length of the run is not that of the schedule."""
        if state.total_steps != self._peft_config.total_step:
            raise IncompatibleError(
                f"Adapter 'adalora' was attached for {self._peft_config.total_step} optimizer steps, but "
                f"the run has {state.total_steps}. Attach it with the run's own number "
                "(TrainingPlan.total_steps)."
            )

    def on_optimizer_step(self, state: TrainState) -> None:
        """Update importances and allocate ranks. Raises IncompatibleError for a target that got no gradient."""
        if state.step < self.settled_at:
            self._refuse_missing_gradients()
        self._network.base_model.update_and_allocate(state.step)
        state.logs["rank_budget"] = float(self._allocator.budget_schedule(state.step)[0])

    def on_fit_end(self, state: TrainState) -> None:
        """Warn if the weights that are kept are from a step before the ranks reached their target."""
        kept = state.step if state.best_step is None else state.best_step
        if kept < self.settled_at:
            logger.warning(
                "AdaLoRA: the best weights are those of step %d, before the ranks reached target_r=%d (step %d): the "
                "adapter is larger than its setting. Use a shorter run, a smaller tinit or a larger tfinal.",
                kept,
                self._peft_config.target_r,
                self.settled_at,
            )

    def state_dict(self) -> dict[str, Any]:
        """The two moving averages by weight, and the latest pattern of ranks."""
        return {
            "importance": {name: value.cpu() for name, value in self._allocator.exp_avg_ipt.items()},
            "uncertainty": {name: value.cpu() for name, value in self._allocator.exp_avg_unc.items()},
            "rank_pattern": self._peft_config.rank_pattern,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of `state_dict`."""
        devices = {name: p.device for name, p in self._network.base_model.model.named_parameters()}

        def moved(values: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: value.to(devices[name], copy=True) for name, value in values.items()}

        self._allocator.exp_avg_ipt = moved(state["importance"])
        self._allocator.exp_avg_unc = moved(state["uncertainty"])
        # The latest importance is computed again at each step; PEFT only checks that the name exists.
        self._allocator.ipt = {name: torch.zeros_like(v) for name, v in self._allocator.exp_avg_ipt.items()}
        self._peft_config.rank_pattern = state["rank_pattern"] or None

    def _refuse_missing_gradients(self) -> None:
        for name, parameter in self._network.named_parameters():
            if parameter.requires_grad and parameter.grad is None:
                raise IncompatibleError(
                    f"Adapter 'adalora': '{name}' got no gradient, so its importance cannot be known: the "
                    "backbone's forward does not use that layer. Leave it out of adapter.targets."
                )


@hookimpl
def lorarec_adapters() -> Iterable[type[Adapter]]:
    """AdaLoRA."""
    return [AdaLora]
