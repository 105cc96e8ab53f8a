"""Tokenizers that a stranger may have written: what takes endless time or memory is refused, what models use is not."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from lorarec_backbones.saved_tokenizer import check_tokenizer, is_slow

IN_USE = {
    "llama 3": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+",
    "gpt-4o": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m)?|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "bloom": r" ?[^(\s|[.,!?…。])]+",
    "deepseek": r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+",
    "chinese": "[一-龥]+",
    "intersection": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{M}&&[^\p{Han}]]+",
    "blanks": " {2,}",
    "clip": r"'s|'t|'re|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    "groups of digits": r"\d{1,3}(?=(?:\d{3})*\b)",
    "digits from the right": r"(?=(\d{3})+(?!\d))",
    "line ends": r"(?:\r?\n)+(?!\r?\n)",
    "behind": r"(?<=\n)(?=[^\n])",
    "backslash": r"\\d",
}
SLOW = [
    *("(a*)*b", "(a|a)*b", "(.*)*c", "(?:a+)+$", "((a+)b?)*$", "(a+){2,}$", r"(\w+\s?)*$", "(x+x+)+y", "(a|b|ab)*c"),
    *("^(([a-z])+.)+[A-Z]([a-z])+$", "[a-z]*" * 8 + "1", "(a?){40}a{40}", "a{1,65535}{1,65535}", "a*a*b", "a+a+$"),
    *(r"(?=(a+))a*b\1", r"(a+)\1+b", "(?R)", r"\g<0>", r"(?<n>a\g<n>?b)", "(?:(?:a{1,100}){1,100}){1,100}", "(", "["),
    *("a" * 100_000, r"(?:a|\(a+\)|a+)+b", "(a+[)])+x", "([(]a+)+b", "(?x)( a + ) + b", "(a|b(c)*)++d", "(?i-x:(a+)+)"),
    *("(?:a*|b)(?:a*|b)(?:a*|b)c", "(?~ab)", "(?(1)a|b)", "(a{2,})+b", "(?:(?:a)+)+b", "a{1,}a{1,}b", "(a+)*+b"),
    *("a{1,100}" * 3 + "b", "(a|a)" * 30 + "b", "a?" * 30 + "a" * 30, "(?:(a|b)(c|d)){4}" * 20),
]


@pytest.mark.parametrize("name", IN_USE)
def test_patterns_of_models_in_use_are_read(name: str) -> None:
    assert not is_slow(IN_USE[name])


@pytest.mark.parametrize("pattern", SLOW, ids=range(len(SLOW)))
def test_patterns_that_may_take_more_than_quadratic_time_are_refused(pattern: str) -> None:
    assert is_slow(pattern)
    for where in ({"normalizer": {"type": "Replace", "pattern": {"Regex": pattern}}}, [{"Regex": pattern}]):
        with pytest.raises(ValueError, match="which may never end"):
            check_tokenizer(where)


def replaced(pattern: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": pattern}, "content": content}


def precompiled(content: bytes, trie: int = 4) -> dict[str, Any]:
    characters = trie.to_bytes(4, "little") + bytes(4) + content
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(characters).decode()}


@pytest.mark.parametrize(
    "normalizer",
    [
        replaced("a", "a" * 1_000),
        {"type": "Sequence", "normalizers": [replaced("a", "aaaaa")] * 3},
        {"type": "Prepend", "prepend": "x" * 10**6},
        precompiled(b"a\0" + b"x" * 1_000 + b"\0"),
    ],
)
def test_a_normalizer_that_makes_texts_very_long_is_refused(normalizer: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="makes texts more than 100 times longer"):
        check_tokenizer({"normalizer": normalizer})


@pytest.mark.parametrize("value", [precompiled(b"", 100), {"type": "Precompiled"}])
def test_a_table_of_characters_that_is_cut_is_refused(value: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="precompiled_charsmap is cut"):
        check_tokenizer({"normalizer": value})


def test_a_table_of_characters_is_read_only_where_the_type_has_one() -> None:
    check_tokenizer({"normalizer": precompiled(b"", 100) | {"type": "NFC"}})


def test_normalizers_of_models_in_use_are_read() -> None:
    steps = [{"type": "NFKC"}, replaced("``", '"'), replaced("…", "..."), replaced(" ", "▁"), precompiled(b"fi\0ffi\0")]
    check_tokenizer({"normalizer": {"type": "Sequence", "normalizers": [*steps, {"type": "Prepend", "prepend": "▁"}]}})
    check_tokenizer({"normalizer": None})
