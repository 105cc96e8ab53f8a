"""The tokenizer of a run folder, which a stranger may have written: checked for what takes endless time or memory."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

MOST_GROWTH = 100
"""How many times longer its normalizer may make a text."""
LONGEST_PATTERN = 10_000
MANY = 100
"""A repetition of up to this many is one that ends."""
MOST_WAYS = 100_000
"""Ways to match repetitions that end and the alternatives of groups, tried at each character of a text."""
ESCAPE = re.compile(r"\\(?:[pPx]\{[^}]*\}|.)", re.DOTALL)
CLASS = re.compile(r"\[[^\[\]]*\]")
GROUP = re.compile(r"\((\?<\w+>|\?<?[=!>]|\?[a-z-]*:)?([^()]*)\)")
FLAGS = re.compile(r"\(\?[a-wyz-]*\)")
COUNT = re.compile(r"\{(\d*)(,?)(\d*)\}")
ATOM = re.compile(r"([^*+?{])([*+?{]?)")
"""After `_simplified`, `{` is a repetition that ends."""


def check_tokenizer(content: Any) -> None:
    """Raises ValueError if tokenizer.json has a pattern that may take exponential time, or a normalizer that makes
    texts very much longer."""
    for pattern in _patterns(content):
        if is_slow(pattern):
            raise ValueError(f"tokenizer.json has the pattern {json.dumps(pattern)[:60]}, which may never end")
    if isinstance(content, dict) and _growth(content.get("normalizer")) > MOST_GROWTH:
        raise ValueError(f"tokenizer.json has a normalizer that makes texts more than {MOST_GROWTH} times longer")


def _patterns(value: Any) -> Iterator[str]:
    """The regular expressions of a tokenizer."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "Regex" and isinstance(inner, str):
                yield inner
            elif key not in ("vocab", "merges", "added_tokens"):
                yield from _patterns(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _patterns(inner)


def _growth(value: Any) -> float:
    """How many times longer the steps of a normalizer make a text of one character."""
    if isinstance(value, list):
        product = 1.0
        for inner in value:
            product = min(product * _growth(inner), 1e9)
        return product
    if not isinstance(value, dict):
        return 1.0
    match value.get("type"):
        case "Replace":
            pattern = value.get("pattern")
            replaced = pattern.get("String") if isinstance(pattern, dict) else None
            return max(1.0, len(str(value.get("content"))) / max(1, len(replaced) if isinstance(replaced, str) else 1))
        case "Prepend":
            return 1.0 + len(str(value.get("prepend")))
        case "Precompiled":
            characters = base64.b64decode(str(value.get("precompiled_charsmap")), validate=True)
            trie = 4 + int.from_bytes(characters[:4], "little")
            if trie >= len(characters):
                raise ValueError("tokenizer.json has a normalizer whose precompiled_charsmap is cut")
            return max(map(len, characters[trie:].split(b"\0")))
    return _growth(value.get("normalizers"))


def is_slow(pattern: str) -> bool:
    """Whether matching may take more than quadratic time, as far as its form says.

    Refused: a repeated group that itself repeats or chooses, a repeated repetition, references and recursion, two
    repetitions without end one after the other, if something must follow them, and very many ways to match what does
    end, as `a{1,100}a{1,100}a{1,100}b` has. Tokenizers in use have none of these.
    """
    simple = "" if len(pattern) > LONGEST_PATTERN else _simplified(pattern)
    return not simple or any(_may_fail_late(each) for each in simple.split("|"))


def _simplified(pattern: str) -> str:
    """The pattern with one x for each escape, class and group; empty if it is slow or has another form."""
    if re.search(r"\\[1-9gk]", re.sub(r"\\\\", "", pattern)):
        return ""
    simple = ESCAPE.sub("x", pattern)
    while CLASS.search(simple):
        simple = CLASS.sub("x", simple)
    simple = re.sub(r"([*+?}])\?", r"\1", FLAGS.sub("", simple))  # lazy
    simple = re.sub(r"([*+?])\+", r"\1", simple)  # possessive
    ways = _ways(simple)
    simple = COUNT.sub(_counted, simple)
    if ways > MOST_WAYS or "[" in simple or re.search(r"[*+?{][*+{?]", simple):
        return ""
    while match := GROUP.search(simple):
        inner, after = match[2], simple[match.end() : match.end() + 1]
        repeats = after in ("*", "+", "{") and (re.search(r"[*+{|]", inner) or not re.search(r"[^?](?!\?)", inner))
        if inner.startswith("?") or repeats:
            return ""
        endless = len(re.findall(r"[*+]", inner))
        simple = f"{simple[: match.start()]}{'x*' * endless}x{simple[match.end() :]}"
    return "" if set(simple) & set("()") else simple or "x"


def _ways(simple: str) -> int:
    """In how many ways options, repetitions that end and the alternatives of groups may match, at most."""
    ways: int = 2 ** len(re.findall(r"(?<![(|])\?", simple))
    for least, comma, most in COUNT.findall(simple):
        ways *= max(1, int(most) - int(least or 0) + 1) if comma and most else 1
    while match := GROUP.search(simple):
        ways *= match[2].count("|") + 1
        simple = f"{simple[: match.start()]}x{simple[match.end() :]}"
    return ways


def _counted(match: re.Match[str]) -> str:
    """`{3}` of one character is no repetition, `{1,3}` one that ends, `{3,}` one without end."""
    least, comma, most = match.groups()
    if not comma and len(least) < 4 and match.string[match.start() - 1] != ")":
        return ""
    return "{" if most and int(most) <= MANY else "+"


def _may_fail_late(alternative: str) -> bool:
    """Whether something must follow the second repetition without end."""
    endless = 0
    for _, repeated in ATOM.findall(alternative):
        if endless >= 2 and repeated not in ("*", "?"):
            return True
        endless += repeated in ("*", "+")
    return False
