"""SentenceFolder: how a folder of sentence-transformers reads texts, from its modules.json and the files it names."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from lorarec.contracts import LorarecError, is_inside
from lorarec_backbones.pooling import MODES
from lorarec_backbones.sentence_layers import ACTIVATIONS, WEIGHTS, LayerSpec, SentenceLayers

MODULES = "modules.json"
SENTENCE = "sentence_bert_config.json"
PROMPTS = "config_sentence_transformers.json"
TYPE = "sentence_transformers.models."
"""Package of the module types, by the names that every version of sentence-transformers reads."""
FLAGS = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "last": "pooling_mode_lasttoken",
}
READ = {"max_seq_length", "do_lower_case", "transformer_task", "modality_config", "module_output_name"}
"""Settings of SENTENCE that are read; another one with a value is named as not honored."""
Files = Callable[[str], Path | None]
"""The path of a file of the folder; None if there is none."""


@dataclass(frozen=True)
class SentenceFolder:
    """The reading that belongs to an encoder; the settings of a recipe come before it."""

    transformer: str = ""
    """Subfolder of the transformer and its tokenizer."""
    poolings: tuple[str, ...] = ("mean",)
    """Modes of `pool`, whose vectors are concatenated."""
    include_prompt: bool = True
    """Whether the prompt's positions are pooled."""
    layers: tuple[LayerSpec, ...] = ()
    """After the pooling, without a Normalize at the end."""
    normalize: bool = False
    """Whether it ends with Normalize."""
    max_length: int | None = None
    """Tokens of a text; None if only tokenizer and positions limit it."""
    lowercase: bool = False
    prompt: str = ""
    """Written before every text."""
    prompts: Mapping[str, str] = field(default_factory=dict)
    """All named prompts."""
    unread: tuple[str, ...] = ()
    """What it has and lorarec does not read."""

    def described(self) -> str:
        """In a few words."""
        words = [f"pooling {' + '.join(self.poolings)}", *map(str, self.layers)]
        words += ["normalized"] if self.normalize else []
        words += [f"at most {self.max_length} tokens"] if self.max_length else []
        words += ["lowercased"] if self.lowercase else []
        words += [f"prompt {self.prompt!r}"] if self.prompt else []
        words += ["without the prompt's positions"] if self.prompt and not self.include_prompt else []
        return ", ".join(words)

    def write(self, folder: Path, width: int, layers: SentenceLayers | None) -> None:
        """Write these settings and the layers' weights next to a transformer `width` wide, so that
        sentence-transformers loads the folder."""
        kinds = ["Transformer", "Pooling", *(spec.kind for spec in self.layers), *(["Normalize"] * self.normalize)]
        paths = ["", *(f"{index}_{kind}" for index, kind in enumerate(kinds) if index)]
        modules = [
            {"idx": index, "name": str(index), "path": path, "type": f"{TYPE}{kind}"}
            for index, (kind, path) in enumerate(zip(kinds, paths, strict=True))
        ]
        for path in paths:
            (folder / path).mkdir(parents=True, exist_ok=True)
        if self.poolings == tuple(mode for mode in FLAGS if mode in self.poolings):  # which every version reads
            pooling: dict[str, Any] = {flag: mode in self.poolings for mode, flag in FLAGS.items()}
        else:
            pooling = {"pooling_mode": ["lasttoken" if mode == "last" else mode for mode in self.poolings]}
        pooling |= {"word_embedding_dimension": width, "include_prompt": self.include_prompt}
        _write(folder / MODULES, modules)
        _write(folder / paths[1] / "config.json", pooling)
        _write(folder / SENTENCE, {"max_seq_length": self.max_length, "do_lower_case": self.lowercase})
        default = next((name for name, text in self.prompts.items() if text == self.prompt), "default")
        prompts = {**self.prompts, **({default: self.prompt} if self.prompt else {})}
        _write(folder / PROMPTS, {"prompts": prompts, "default_prompt_name": default if self.prompt else None})
        if layers is not None:
            layers.write([folder / path for path in paths[2 : 2 + len(self.layers)]])


def read_sentence_folder(files: Files, name: str, transformer_only: bool) -> SentenceFolder | None:
    """The settings of a folder or hub id `name`; None if it is not one of sentence-transformers.

    `transformer_only`: name what cannot be honored instead of refusing it. Raises LorarecError for a file that cannot
    be read, and for modules that change vectors in a way that lorarec has not.
    """
    if files(MODULES) is None:
        return None
    folder, unread, pooled = SentenceFolder(), [], False
    for index, (kind, path) in enumerate(_modules(files, name)):
        if index == 0:
            if kind != "Transformer":
                raise _refusal(name, f"its first module is {kind}, not Transformer")
            folder = _with_transformer(folder, files, path, name)
        elif kind == "Pooling" and not pooled:
            folder, pooled = _with_pooling(folder, files, path, name), True
        elif kind in ("Dense", "LayerNorm", "Normalize") and pooled:
            folder = replace(folder, layers=(*folder.layers, _layer(kind, path, files, name)))
        elif kind == "Dropout":
            unread.append("the module Dropout, which changes nothing but training")
        elif transformer_only:
            unread.append(f"the module {kind}")
        else:
            raise _refusal(name, f"its module {kind} changes vectors and is not supported at position {index}")
    if not pooled and not transformer_only:
        raise _refusal(name, "it has no Pooling")
    if folder.layers and folder.layers[-1].kind == "Normalize":
        folder = replace(folder, layers=folder.layers[:-1], normalize=True)
    folder = _with_prompts(folder, files, name)
    return replace(folder, unread=(*folder.unread, *unread))


def _refusal(name: str, reason: str) -> LorarecError:
    return LorarecError(
        f"backbone.checkpoint '{name}' is a folder of sentence-transformers, but {reason}. Set backbone.pooling to use "
        "its transformer alone if it has one, or choose another checkpoint."
    )


def _modules(files: Files, name: str) -> list[tuple[str, str]]:
    """Kind and path of each module, in order."""
    entries = _read(files, MODULES, name, list)
    modules = []
    for entry in entries:
        kind, path = (entry.get(key) if isinstance(entry, dict) else None for key in ("type", "path"))
        if not isinstance(kind, str) or not isinstance(path, str):
            raise _damaged(name, MODULES, "an entry has no type and path")
        plain = "/".join(PurePosixPath(path).parts)
        if plain and not is_inside(plain):
            raise _damaged(name, MODULES, f"the path {path[:100]!r} is not inside the folder")
        package, _, last = kind.rpartition(".")
        modules.append((last if package.startswith("sentence_transformers.") else kind[:100], plain))
    if not modules:
        raise _damaged(name, MODULES, "it has no module")
    return modules


def _with_transformer(folder: SentenceFolder, files: Files, path: str, name: str) -> SentenceFolder:
    files_of = (f"sentence_{kind}_config.json" for kind in ("bert", "roberta", "distilbert", "camembert", "albert"))
    file = next((f"{path}/{each}".lstrip("/") for each in files_of if files(f"{path}/{each}".lstrip("/"))), None)
    config = {} if file is None else _read(files, file, name, dict)
    length = config.get("max_seq_length")
    if length is not None and (not isinstance(length, int) or length < 1):
        raise _damaged(name, str(file), f"max_seq_length is {length!r:.100}, not a number of tokens")
    output = {"module_output_name": "token_embeddings", "transformer_task": "feature-extraction"}
    for setting, wanted in output.items():
        if config.get(setting, wanted) != wanted:
            raise _refusal(name, f"its {setting} is {config[setting]!r:.100}, not {wanted!r}")
    unread = tuple(f"{key} of {file}" for key, value in config.items() if key not in READ and value)
    lowercase = bool(config.get("do_lower_case"))
    return replace(folder, transformer=path, max_length=length, lowercase=lowercase, unread=unread)


def _with_pooling(folder: SentenceFolder, files: Files, path: str, name: str) -> SentenceFolder:
    file = f"{path}/config.json".lstrip("/")
    config = _read(files, file, name, dict)
    given = config.get("pooling_mode")
    if given is None:
        given = [mode for mode, flag in FLAGS.items() if config.get(flag)] or ["mean"]
    given = [given] if isinstance(given, str) else given
    modes = tuple("last" if mode == "lasttoken" else mode for mode in given) if isinstance(given, list) else ()
    if not modes or any(mode not in MODES for mode in modes):
        raise _refusal(name, f"the pooling {given!r:.100} in {file} is not supported")
    return replace(folder, poolings=modes, include_prompt=bool(config.get("include_prompt", True)))


def _layer(kind: str, path: str, files: Files, name: str) -> LayerSpec:
    if kind == "Normalize":
        return LayerSpec(kind)
    file = f"{path}/config.json".lstrip("/")
    config = _read(files, file, name, dict)
    weights = files(f"{path}/{WEIGHTS}".lstrip("/"))
    if weights is None:
        raise _damaged(name, path, f"it has no {WEIGHTS}; weights in other formats are pickles and may hold code")
    keys = ("dimension", "dimension") if kind == "LayerNorm" else ("in_features", "out_features")
    inputs, outputs = (config.get(key) for key in keys)
    if not all(isinstance(size, int) and size > 0 for size in (inputs, outputs)):
        raise _damaged(name, file, f"{keys[0]} and {keys[1]} must be numbers above 0")
    spec = LayerSpec(kind, inputs, outputs, weights=weights)
    if kind == "LayerNorm":
        return spec
    activation = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
    known = activation.rpartition(".")[2]
    if not activation.startswith("torch.nn.") or known not in ACTIVATIONS:
        raise _refusal(name, f"the activation {activation[:100]!r} in {file} is not supported")
    through = (config.get("module_input_name", "sentence_embedding"), config.get("module_output_name"))
    if through[0] != "sentence_embedding" or through[1] not in (None, "sentence_embedding"):
        raise _refusal(name, f"{file} reads {through[0]!r:.100} instead of the pooled vector")
    residual = bool(config.get("use_residual"))
    return replace(spec, bias=bool(config.get("bias", True)), activation=known, residual=residual)


def _with_prompts(folder: SentenceFolder, files: Files, name: str) -> SentenceFolder:
    if files(PROMPTS) is None:
        return folder
    config = _read(files, PROMPTS, name, dict)
    model = config.get("model_type", "SentenceTransformer")
    if model != "SentenceTransformer":
        raise _refusal(name, f"{PROMPTS} calls it a {model!r:.100}")
    prompts, default = config.get("prompts") or {}, config.get("default_prompt_name")
    if not isinstance(prompts, dict) or not all(isinstance(text, str) for text in prompts.values()):
        raise _damaged(name, PROMPTS, "prompts must be texts by name")
    if default is not None and default not in prompts:
        raise _damaged(name, PROMPTS, f"its default prompt {default!r:.100} is not among its prompts")
    unread = folder.unread + (("truncate_dim",) if config.get("truncate_dim") else ())
    others = [key for key, text in prompts.items() if text and key != default]
    if others:
        unread += (f"the prompts {', '.join(map(repr, others))[:300]} (write one into backbone.prompt)",)
    return replace(folder, prompt=prompts.get(default, ""), prompts=prompts, unread=unread)


def _read(files: Files, file: str, name: str, kind: type) -> Any:
    path = files(file)
    if path is None:
        raise _damaged(name, file, "it is missing")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(name, file, str(error)[:200]) from error
    if not isinstance(content, kind):
        raise _damaged(name, file, f"it holds no {kind.__name__}")
    return content


def _damaged(name: str, file: str, reason: str) -> LorarecError:
    return LorarecError(f"backbone.checkpoint '{name}', {file}: {reason}. Copy the folder again.")


def _write(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
