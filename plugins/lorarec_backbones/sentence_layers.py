"""SentenceLayers: the layers of a sentence encoder after its pooling, Dense, LayerNorm and Normalize."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lorarec.contracts import LorarecError

ACTIVATIONS = {
    name: getattr(nn, name)
    for name in (
        *("Identity", "Tanh", "Sigmoid", "ReLU", "GELU", "SiLU", "ELU", "SELU", "CELU", "LeakyReLU", "ReLU6"),
        *("Mish", "Softplus", "Softsign", "LogSigmoid", "Hardtanh", "Hardsigmoid", "Hardswish", "Tanhshrink"),
    )
}
"""Activations of a Dense layer by the last part of the name in its configuration."""
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class LayerSpec:
    """One layer after the pooling, as its config.json describes it."""

    kind: str
    """Dense, LayerNorm or Normalize."""
    inputs: int = 0
    outputs: int = 0
    bias: bool = True
    activation: str = "Identity"
    residual: bool = False
    weights: Path | None = None
    """File of its weights; None for Normalize."""

    def __str__(self) -> str:
        if self.kind != "Dense":
            return self.kind
        return f"Dense from {self.inputs} to {self.outputs} ({self.activation})"

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The sizes of its weights by name."""
        if self.kind == "LayerNorm":
            return {"norm.weight": (self.inputs,), "norm.bias": (self.inputs,)}
        if self.kind == "Normalize":
            return {}
        square = self.inputs == self.outputs
        return {
            "linear.weight": (self.outputs, self.inputs),
            **({"linear.bias": (self.outputs,)} if self.bias else {}),
            **({"residual.weight": (self.outputs, self.inputs)} if self.residual and not square else {}),
        }


class SentenceLayer(nn.Module):
    """One layer, [B, inputs] to [B, outputs] float32, with sentence-transformers' names of its weights."""

    def __init__(self, spec: LayerSpec) -> None:
        super().__init__()
        self.spec = spec
        if spec.kind == "Dense":
            self.linear = nn.Linear(spec.inputs, spec.outputs, bias=spec.bias)
            self.activation = ACTIVATIONS[spec.activation]()
            if "residual.weight" in spec.shapes():
                self.residual = nn.Linear(spec.inputs, spec.outputs, bias=False)
        elif spec.kind == "LayerNorm":
            self.norm = nn.LayerNorm(spec.inputs)

    def forward(self, inputs_BI: Tensor) -> Tensor:
        """[B, outputs]."""
        if self.spec.kind == "Normalize":
            return nn.functional.normalize(inputs_BI, dim=-1)
        if self.spec.kind == "LayerNorm":
            return self.norm(inputs_BI)  # type: ignore[no-any-return]
        outputs_BO: Tensor = self.activation(self.linear(inputs_BI))
        if not self.spec.residual:
            return outputs_BO
        return outputs_BO + (self.residual(inputs_BI) if hasattr(self, "residual") else inputs_BI)


class SentenceLayers(nn.Sequential):
    """The layers in order. They are part of the encoder's module: adapters find them there, and `full` trains them."""

    @classmethod
    def load(cls, specs: Sequence[LayerSpec]) -> SentenceLayers:
        """Read their weights, in float32. Raises LorarecError for those that are missing, of another size or not
        finite."""
        layers = []
        for spec in specs:
            if spec.weights is not None:
                _check_weights(spec, spec.weights)  # before anything of these sizes is built
            layers.append(SentenceLayer(spec))
            if spec.weights is not None:
                layers[-1].load_state_dict({name: w.float() for name, w in load_file(spec.weights).items()})
        return cls(*layers)

    def write(self, folders: Sequence[Path]) -> None:
        """Write each layer's config.json and weights into its folder, as sentence-transformers reads them."""
        for layer, folder in zip(self, folders, strict=True):
            folder.mkdir(parents=True, exist_ok=True)
            if isinstance(layer, SentenceLayer) and (config := _config(layer.spec)):
                (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
                state = {name: weight.detach().cpu().contiguous() for name, weight in layer.state_dict().items()}
                save_file(state, folder / WEIGHTS)


def _config(spec: LayerSpec) -> dict[str, object]:
    if spec.kind == "LayerNorm":
        return {"dimension": spec.inputs}
    if spec.kind == "Normalize":
        return {}
    return {
        "in_features": spec.inputs,
        "out_features": spec.outputs,
        "bias": spec.bias,
        "activation_function": f"{ACTIVATIONS[spec.activation].__module__}.{spec.activation}",
        **({"use_residual": True} if spec.residual else {}),
    }


def _check_weights(spec: LayerSpec, file: Path) -> None:
    wanted = spec.shapes()
    try:
        with safe_open(file, "pt") as weights:
            sizes = {name: tuple(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118
            if sizes != wanted:
                raise LorarecError(
                    f"backbone.checkpoint: the weights in {file} have the sizes {sizes}, but {spec} in its config.json "
                    f"needs {wanted}. Copy the folder again."
                )
            if not all(bool(weights.get_tensor(name).isfinite().all()) for name in wanted):
                raise LorarecError(f"backbone.checkpoint: {file} has weights that are not finite. Copy it again.")
    except (OSError, SafetensorError) as error:
        raise LorarecError(f"backbone.checkpoint: cannot read {file}: {error}. Copy the folder again.") from error
