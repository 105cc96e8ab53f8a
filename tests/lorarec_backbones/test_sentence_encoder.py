"""A folder of sentence-transformers is read as sentence-transformers reads it, or refused by what is not honored."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentence_transformers as sentences
import torch
import transformers
from safetensors.torch import load_file, save_file
from sentence_transformers.sentence_transformer import modules

from lorarec.contracts import Catalog, LorarecError, TrainingPlan, View
from lorarec_adapters.full import Full
from lorarec_adapters.lora import Lora
from lorarec_backbones.text import TextBackbone

Folder = Callable[..., Path]


@pytest.fixture(scope="module")
def plain(tiny_checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A tiny checkpoint; "cased" is a BERT whose tokenizer keeps capitals."""

    def folder(kind: str) -> Path:
        if kind != "cased":
            return tiny_checkpoint(kind)
        copied = tmp_path_factory.mktemp(kind) / kind
        shutil.copytree(tiny_checkpoint("bert"), copied)
        tokenizer = json.loads((copied / "tokenizer.json").read_text())
        tokenizer["normalizer"]["lowercase"] = False
        (copied / "tokenizer.json").write_text(json.dumps(tokenizer))
        return copied

    return folder


@pytest.fixture
def encoder(plain: Any, tmp_path: Path) -> Folder:
    """A builder of folders written by sentence-transformers: its transformer, the modules after it, and prompts."""

    def build(*after: Any, kind: str = "bert", how: dict[str, Any] | None = None, **settings: Any) -> Path:
        torch.manual_seed(3)
        first = modules.Transformer(str(plain(kind)), **(how or {}))
        after = after or (modules.Pooling(32, pooling_mode="cls"),)
        sentences.SentenceTransformer(modules=[first, *after], **settings).save(str(tmp_path / "encoder"))
        return tmp_path / "encoder"

    return build


def text(folder: Path, **settings: Any) -> TextBackbone:
    return TextBackbone(TextBackbone.Config(checkpoint=str(folder), **settings))


def vectors(backbone: TextBackbone, catalog: Catalog, module: Any = None) -> torch.Tensor:
    """Of every item."""
    views = [View(candidate=row) for row in range(len(catalog))]
    with torch.no_grad():
        module = backbone.module if module is None else module
        return backbone.encode(module.eval(), backbone.featurizer(catalog, 128)(views)).pooled


def own_vectors(folder: Path, catalog: Catalog) -> torch.Tensor:
    return torch.tensor(sentences.SentenceTransformer(str(folder)).encode(catalog.texts()))


def dense(inputs: int, outputs: int, **settings: Any) -> Any:
    return modules.Dense(inputs, outputs, **settings)


def pooled(*modes: str, **settings: Any) -> Any:
    return modules.Pooling(32, pooling_mode=modes if len(modes) > 1 else modes[0], **settings)


PROMPT = {"prompts": {"task": "Search: ", "query": "q "}, "default_prompt_name": "task"}
CASES: dict[str, Callable[[Folder], Path]] = {
    "cls": lambda build: build(),
    "max": lambda build: build(pooled("max")),
    "mean": lambda build: build(pooled("mean"), modules.Normalize()),
    "root": lambda build: build(pooled("mean_sqrt_len_tokens")),
    "weighted": lambda build: build(pooled("weightedmean")),
    "concatenated": lambda build: build(pooled("cls", "max", "mean")),
    "in another order": lambda build: build(pooled("mean", "cls")),
    "dense": lambda build: build(pooled("mean"), dense(32, 12)),
    "several": lambda build: build(
        pooled("cls", "mean"),
        dense(64, 16, activation_function=torch.nn.GELU()),
        modules.LayerNorm(16),
        modules.Normalize(),
        dense(16, 16, bias=False, use_residual=True, activation_function=None),
        dense(16, 8, use_residual=True),
        modules.Normalize(),
    ),
    "short": lambda build: build(how={"max_seq_length": 9}),
    "prompt": lambda build: build(pooled("mean"), **PROMPT),
    "unpooled prompt": lambda build: build(pooled("mean", include_prompt=False), **PROMPT),
    "unpooled weighted": lambda build: build(pooled("cls", "weightedmean", include_prompt=False), **PROMPT),
    "lowercase": lambda build: build(kind="cased", how={"do_lower_case": True}),
    "decoder": lambda build: build(pooled("lasttoken"), kind="llama", **PROMPT),
    "decoder by mean": lambda build: build(pooled("mean"), modules.Dropout(0.5), dense(32, 8), kind="llama"),
    "roberta": lambda build: build(pooled("cls"), kind="roberta"),
}


@pytest.mark.parametrize("case", CASES)
def test_item_vectors_are_those_of_sentence_transformers(
    case: str, encoder: Folder, catalog: Catalog, tmp_path: Path
) -> None:
    folder = CASES[case](encoder)
    backbone = text(folder).load(catalog, 0)
    ours, theirs = vectors(backbone, catalog), own_vectors(folder, catalog)
    assert ours.shape == theirs.shape == (len(catalog), backbone.architecture().hidden_size)
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)
    plainly = TextBackbone(TextBackbone.Config(checkpoint=str(folder), pooling="mean", normalize=False, prompt=""))
    if case not in ("dense", "several", "concatenated"):
        other = vectors(plainly.load(catalog, 0), catalog)
        assert other.shape != ours.shape or not torch.allclose(other, ours, atol=1e-3) or case == "decoder by mean"

    backbone.save(backbone.module, tmp_path / "saved")
    copied = text(tmp_path / "nowhere")
    copied.load_from(tmp_path / "saved")
    copied.load(catalog, 0)
    assert copied.fingerprint() == backbone.fingerprint()
    assert torch.equal(vectors(copied, catalog), ours), "a run folder's copy"
    torch.testing.assert_close(own_vectors(tmp_path / "saved", catalog), theirs, atol=2e-5, rtol=1e-4)
    transformers.AutoModel.from_pretrained(tmp_path / "saved")


def test_the_recipes_settings_win_and_both_are_noted(encoder: Folder, catalog: Catalog) -> None:
    folder = encoder(pooled("cls"), modules.Normalize(), how={"max_seq_length": 16}, **PROMPT)
    own = text(folder).load(catalog, 0).featurizer(catalog, 128)
    assert own.max_length == 16
    says = "texts are read as modules.json of the checkpoint says: pooling cls, normalized, at most 16 tokens, prompt "
    assert own.notes()[1:] == [
        f"{says}'Search: '",
        "not honored of the checkpoint's folder: the prompts 'query' (write one into backbone.prompt)",
    ]
    settings = {"pooling": "mean", "normalize": False, "max_length": 32, "prompt": ""}
    backbone = text(folder, **settings).load(catalog, 0)
    notes = backbone.featurizer(catalog, 128).notes()
    for setting, value, other in (
        ("pooling", "mean", "cls"),
        ("normalize", False, True),
        ("max_length", 32, 16),
        ("prompt", "", "Search: "),
    ):
        assert f"backbone.{setting}={value} is used instead of the checkpoint's own {other}" in notes
    plainly = text(folder.parent / "none", **settings)
    plainly._folder = type(plainly._folder)(str(folder))
    plainly._own = None
    assert torch.equal(vectors(backbone, catalog), vectors(plainly.load(catalog, 0), catalog))


def test_a_checkpoint_without_modules_json_is_read_by_the_defaults(plain: Any, catalog: Catalog) -> None:
    backbone = text(plain("bert")).load(catalog, 0)
    featurizer = backbone.featurizer(catalog, 512)
    assert featurizer.max_length == 128 and not featurizer.notes()
    explicit = text(plain("bert"), pooling="mean", max_length=128, normalize=False, prompt="").load(catalog, 0)
    assert torch.equal(vectors(backbone, catalog), vectors(explicit, catalog))
    assert backbone.fingerprint() == explicit.fingerprint()


def test_a_transformer_in_a_subfolder_is_read_from_there(encoder: Folder, catalog: Catalog) -> None:
    folder = encoder(pooled("cls"), dense(32, 8), modules.Normalize())
    theirs = own_vectors(folder, catalog)
    (folder / "0_Transformer").mkdir()
    for file in folder.iterdir():
        if file.is_file() and file.name not in ("modules.json", "config_sentence_transformers.json"):
            file.rename(folder / "0_Transformer" / file.name)
    entries = json.loads((folder / "modules.json").read_text())
    entries[0]["path"] = "0_Transformer"
    (folder / "modules.json").write_text(json.dumps(entries))
    torch.testing.assert_close(vectors(text(folder).load(catalog, 0), catalog), theirs, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("adapter", [Lora(Lora.Config(targets="all-linear")), Lora(Lora.Config()), Full(Full.Config())])
def test_adapters_keep_the_layers_after_pooling_and_a_merged_folder_has_them(
    adapter: Any, encoder: Folder, catalog: Catalog, tmp_path: Path
) -> None:
    folder = encoder(pooled("cls"), dense(32, 8), modules.Normalize())
    backbone = text(folder).load(catalog, 0)
    network = adapter.attach(backbone, TrainingPlan(1, 1, 0))
    trained = {name for name, weight in network.named_parameters() if weight.requires_grad}
    everything = adapter.name == "full" or adapter.config.targets == "all-linear"
    assert any("sentence_layers" in name for name in trained) == everything
    optimizer = torch.optim.SGD([weight for weight in network.parameters() if weight.requires_grad], lr=0.5)
    for _ in range(2):
        views = [View(candidate=row) for row in range(len(catalog))]
        pooled_BD = backbone.encode(network, backbone.featurizer(catalog, 128)(views)).pooled
        (pooled_BD * torch.linspace(-1, 1, pooled_BD.numel()).reshape(pooled_BD.shape)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    expected = vectors(backbone, catalog, network)
    (tmp_path / "adapter").mkdir()
    adapter.save(network, tmp_path / "adapter")
    fresh = text(folder).load(catalog, 0)
    restored = adapter.restore(fresh, tmp_path / "adapter")
    assert torch.equal(vectors(fresh, catalog, restored), expected)
    backbone.save(adapter.merge(network), tmp_path / "merged")
    torch.testing.assert_close(own_vectors(tmp_path / "merged", catalog), expected, atol=1e-4, rtol=1e-3)
    assert not torch.allclose(expected, own_vectors(folder, catalog), atol=1e-3)


def test_a_merged_folder_has_the_settings_that_were_used(encoder: Folder, catalog: Catalog, tmp_path: Path) -> None:
    folder = encoder(pooled("cls"), modules.Normalize(), **PROMPT)
    backbone = text(folder, pooling="last", normalize=False, prompt="Find: ", max_length=16).load(catalog, 0)
    backbone.save(backbone.module, tmp_path / "merged")
    saved = sentences.SentenceTransformer(str(tmp_path / "merged"))
    assert saved.max_seq_length == 16 and saved.prompts[saved.default_prompt_name] == "Find: "
    torch.testing.assert_close(
        torch.tensor(saved.encode(catalog.texts())), vectors(backbone, catalog), atol=2e-5, rtol=1e-4
    )


def test_the_fingerprint_tells_a_reading_that_former_versions_did_not_have(encoder: Folder, catalog: Catalog) -> None:
    folder = encoder(pooled("cls"))
    own = text(folder).load(catalog, 0).fingerprint()
    assert own != text(folder, pooling="cls").load(catalog, 0).fingerprint()
    (folder / "modules.json").unlink()
    assert own != text(folder).load(catalog, 0).fingerprint()


def edit(file: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def edited(folder: Path) -> None:
        path = folder / file
        path.write_text(json.dumps(change(json.loads(path.read_text()))))

    return edited


def weights(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Callable[[Path], None]:
    def edited(folder: Path) -> None:
        file = folder / "2_Dense" / "model.safetensors"
        save_file(change(load_file(file)), file)

    return edited


def replaced(index: int, **values: Any) -> Callable[[Any], Any]:
    return lambda entries: [{**entry, **values} if entry["idx"] == index else entry for entry in entries]


def with_values(**values: Any) -> Callable[[Any], Any]:
    return lambda content: {**content, **values}


ST = "sentence_transformers.models."
DENSE, POOLING, SENTENCE = "2_Dense/config.json", "1_Pooling/config.json", "sentence_bert_config.json"
PROMPTS, WEIGHTS = "config_sentence_transformers.json", "2_Dense/model.safetensors"
DAMAGED: dict[str, tuple[Callable[[Path], None], str]] = {
    "nan": (weights(lambda w: {**w, "linear.bias": w["linear.bias"] * float("nan")}), "weights that are not finite"),
    "shape": (weights(lambda w: {**w, "linear.bias": w["linear.bias"][:3].clone()}), "have the sizes .* needs"),
    "fewer": (weights(lambda w: {"linear.weight": w["linear.weight"]}), "have the sizes"),
    "more": (weights(lambda w: {**w, "x": torch.ones(1)}), "have the sizes"),
    "huge": (edit(DENSE, with_values(out_features=10**9)), "have the sizes .* needs"),
    "odd size": (edit(DENSE, with_values(in_features="32")), "must be numbers above 0"),
    "other width": (
        edit(POOLING, with_values(pooling_mode=["cls", "mean"])),
        "cannot read vectors of 64",
    ),
    "pickle": (
        lambda f: (f / WEIGHTS).rename(f / "2_Dense/pytorch_model.bin"),
        "pickles and may hold",
    ),
    "cut": (lambda f: (f / WEIGHTS).write_bytes(b"12345678"), "cannot read"),
    "activation": (
        edit(DENSE, with_values(activation_function="os.system")),
        "'os.system' in 2_Dense",
    ),
    "mode": (
        edit(POOLING, with_values(pooling_mode="median")),
        "the pooling .*median",
    ),
    "layers": (
        edit("modules.json", replaced(1, type=f"{ST}WeightedLayerPooling")),
        "WeightedLayerPooling changes",
    ),
    "lstm": (edit("modules.json", lambda e: [e[0], {**e[1], "type": f"{ST}LSTM"}, *e[1:]]), "LSTM changes vectors"),
    "static": (edit("modules.json", replaced(0, type=f"{ST}StaticEmbedding")), "first module is StaticEmbedding"),
    "router": (edit("modules.json", replaced(0, type="sentence_transformers.base.modules.router.Router")), "is Router"),
    "own code": (edit("modules.json", replaced(1, type="their_code.Pooling")), "their_code.Pooling changes vectors"),
    "no pooling": (edit("modules.json", lambda e: e[:1]), "it has no Pooling"),
    "outside": (edit("modules.json", replaced(1, path="../1_Pooling")), "is not inside the folder"),
    "absolute": (edit("modules.json", replaced(2, path="/etc")), "is not inside the folder"),
    "no path": (edit("modules.json", lambda e: [{"idx": 0}]), "an entry has no type and path"),
    "no list": (edit("modules.json", lambda e: {}), "it holds no list"),
    "deep": (lambda f: (f / "modules.json").write_text("[" * 100_000), "modules.json: "),
    "no json": (lambda f: (f / POOLING).write_text("{"), "1_Pooling/config.json: "),
    "missing": (lambda f: (f / POOLING).unlink(), "1_Pooling/config.json: it is missing"),
    "length": (edit(SENTENCE, with_values(max_seq_length="long")), "not a number of tokens"),
    "sparse": (
        edit(PROMPTS, with_values(model_type="SparseEncoder")),
        "'SparseEncoder'",
    ),
    "prompt": (
        edit(PROMPTS, with_values(default_prompt_name="x")),
        "default prompt 'x'",
    ),
    "prompts": (edit(PROMPTS, with_values(prompts=[1])), "must be texts by name"),
    "long prompt": (
        edit(
            "config_sentence_transformers.json", lambda c: {"prompts": {"a": "fox " * 400}, "default_prompt_name": "a"}
        ),
        "takes .* of the 128 tokens",
    ),
}


@pytest.fixture(scope="module")
def with_dense(plain: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dense")
    parts = [modules.Transformer(str(plain("bert"))), pooled("mean"), dense(32, 8)]
    sentences.SentenceTransformer(modules=parts).save(str(folder))
    return folder


@pytest.mark.parametrize("case", DAMAGED)
def test_what_cannot_be_read_or_honored_is_refused(
    case: str, with_dense: Path, catalog: Catalog, tmp_path: Path
) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(with_dense, folder)
    change, message = DAMAGED[case]
    change(folder)
    with pytest.raises(LorarecError, match=message) as refused:
        text(folder).load(catalog, 0).featurizer(catalog, 128)
    assert len(str(refused.value)) < 1000 and "\n" not in str(refused.value)


def test_a_chosen_pooling_reads_the_transformer_alone_and_names_the_rest(encoder: Folder, catalog: Catalog) -> None:
    folder = encoder(pooled("cls"))
    edit("modules.json", lambda e: [e[0], {**e[1], "type": f"{ST}LSTM"}, e[1]])(folder)
    edit(SENTENCE, with_values(model_args={"a": 1}))(folder)
    notes = text(folder, pooling="mean").load(catalog, 0).featurizer(catalog, 128).notes()
    assert notes[-1] == (
        "not honored of the checkpoint's folder: model_args of sentence_bert_config.json; the module LSTM"
    )
