"""Checkpoints that cannot be used are refused with a reason."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import transformers
from safetensors.torch import load_file, save_file

from lorarec.contracts import Catalog, LorarecError
from lorarec_backbones import checkpoint
from lorarec_backbones.checkpoint import Checkpoint
from lorarec_backbones.text import TextBackbone

Build = Callable[..., TextBackbone]


@pytest.fixture
def folder(tiny_checkpoint: Callable[[str], Path], tmp_path: Path) -> Path:
    """A BERT folder that the test may modify."""
    return Path(shutil.copytree(tiny_checkpoint("bert"), tmp_path / "bert"))


def backbone(checkpoint: Path | str, **settings: object) -> TextBackbone:
    """The backbone of a folder."""
    return TextBackbone(TextBackbone.Config(checkpoint=str(checkpoint), **settings))


def test_an_unreachable_hub_names_the_checkpoint_and_what_works_offline() -> None:
    with pytest.raises(LorarecError) as refusal:
        backbone("someone/no-such-model", revision="main").architecture()
    message = str(refusal.value)
    for part in ("someone/no-such-model", "'main'", "local folder", "pip install lorarec[offline]", "minilm"):
        assert part in message


def test_a_hub_that_does_not_answer_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = []

    class Session:
        def head(self, address: str, timeout: float) -> None:
            requests.append(address)
            raise ConnectionError("Name or service not known")

    monkeypatch.setattr(checkpoint.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(checkpoint, "get_session", Session)
    with pytest.raises(LorarecError, match="cannot read the configuration"):
        backbone("someone/no-such-model").architecture()
    assert len(requests) == 1


@pytest.mark.parametrize("name", ["./models/bert", "/models/bert", "models/encoders/bert", "~nobody-here/bert"])
def test_a_missing_folder_is_not_looked_up_on_the_hub(name: str) -> None:
    with pytest.raises(LorarecError, match=re.escape(f"there is no folder '{name}'")):
        backbone(name).architecture()


def test_a_folder_without_a_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LorarecError, match=r"has no config\.json"):
        backbone(tmp_path).architecture()


def test_a_truncated_weights_file_is_named(folder: Path, catalog: Catalog) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(LorarecError, match=r"model\.safetensors is truncated or damaged"):
        backbone(folder).load(catalog, 0)


def test_weights_that_would_be_random_are_refused(folder: Path, catalog: Catalog) -> None:
    file = folder / "model.safetensors"
    weights = load_file(file)
    del weights["encoder.layer.1.attention.self.query.weight"]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(LorarecError, match=r"lacks 1 weights .*layer\.1\.attention\.self\.query\.weight"):
        backbone(folder).load(catalog, 0)


def test_weights_of_another_size_are_refused(folder: Path, catalog: Catalog) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 48}))
    with pytest.raises(LorarecError, match=r"the weight .* has the sizes"):
        backbone(folder).load(catalog, 0)


def test_an_unknown_architecture_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "brt"}))
    with pytest.raises(LorarecError, match="cannot read the configuration"):
        backbone(folder).architecture()


def test_an_encoder_decoder_is_refused_by_name(tmp_path: Path) -> None:
    transformers.T5Config(d_model=32, num_layers=1, num_heads=2).save_pretrained(tmp_path)
    with pytest.raises(LorarecError, match=r"\(t5\) is an encoder-decoder"):
        backbone(tmp_path).architecture()


def test_a_longer_text_than_the_encoder_has_positions_for_is_refused(text: Build) -> None:
    with pytest.raises(LorarecError, match=r"max_length 512 is more than the 128 positions .* at most 128"):
        text(max_length=512).architecture()


def test_cls_pooling_of_a_causal_model_is_refused(text: Build) -> None:
    with pytest.raises(LorarecError, match="Use last or mean"):
        text("gpt2", pooling="cls").architecture()
    text("bert", pooling="cls").architecture()


def test_an_attention_that_the_architecture_lacks_is_refused_before_weights_are_read(text: Build) -> None:
    with pytest.raises(LorarecError, match="cannot read the architecture"):
        text("mpnet", attention="flash_attention_2").architecture()


def test_a_tokenizer_of_another_model_is_refused(
    folder: Path, tiny_checkpoint: Callable[[str], Path], catalog: Catalog
) -> None:
    for file in tiny_checkpoint("gpt2").glob("tokenizer*"):
        shutil.copy(file, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 100}))
    with pytest.raises(LorarecError, match="Tokenizer and weights do not belong together"):
        backbone(folder).featurizer(catalog, 64)


def test_weights_saved_under_a_task_head_load_without_it(
    tiny_checkpoint: Callable[[str], Path], catalog: Catalog, tmp_path: Path
) -> None:
    config = transformers.AutoConfig.from_pretrained(tiny_checkpoint("bert"))
    masked = transformers.BertForMaskedLM(config)
    masked.save_pretrained(tmp_path)
    module = backbone(tmp_path).load(catalog, 0).module
    trained = masked.bert.encoder.layer[0].output.dense.weight
    assert module.encoder.layer[0].output.dense.weight.equal(trained)
    assert module.pooler is None


def test_the_text_part_of_a_multimodal_checkpoint_is_used(catalog: Catalog, tmp_path: Path) -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = transformers.Gemma3Config(
        text_config={**sizes, "num_key_value_heads": 1, "head_dim": 16, "vocab_size": 64},
        vision_config={**sizes, "image_size": 28, "patch_size": 14},
        mm_tokens_per_image=4,
    )
    whole = transformers.Gemma3ForConditionalGeneration(config)
    whole.save_pretrained(tmp_path)
    loaded = backbone(tmp_path).load(catalog, 0)
    assert loaded.architecture().model_type == loaded.module.config.model_type == "gemma3_text"
    trained = whole.model.language_model.layers[1].mlp.down_proj.weight
    assert loaded.module.layers[1].mlp.down_proj.weight.equal(trained)


def test_only_a_commit_pins_a_hub_checkpoint(tmp_path: Path) -> None:
    assert Checkpoint("org/model", "a" * 40).pinned
    assert not Checkpoint("org/model", "v1").pinned
    assert not Checkpoint(str(tmp_path), "a" * 40).pinned
