"""Multiple choice: the options that a question lists, and which of them an answer picks."""

from __future__ import annotations

import re

from osvl_plugins.reward.rules.quantities import read_quantities
from osvl_plugins.reward.rules.text import key, plain

_OPTION = re.compile(r"(?:^|(?<=[\s,;，；?？。]))\(?([A-Ha-h])(?:\)|[.:、](?!\w\.))\s*")
_PICK = re.compile(
    r"^(?:(?:option|choice|answer|letter|选项|选择|选)\s?)?\(?(?P<letter>[A-Ha-h])\)?(?P<sep>\s?[.):、,-]+\s*|\s+|$)(?P<text>.*)$",
    re.IGNORECASE | re.DOTALL,
)
_SEVERAL = re.compile(r"\(?[A-Ha-h]\)?(?:\s?(?:,|、|/|&|;)?\s?(?:and |both |和|及)?\(?[A-Ha-h]\)?){1,7}", re.IGNORECASE)


def options_of(question: str) -> dict[str, str]:
    """Letter and text of each option that ``question`` lists from A on; empty when there are fewer than two."""
    line = plain(question)
    marks: list[re.Match[str]] = []
    for match in _OPTION.finditer(line):
        if match[1].upper() == chr(ord("A") + len(marks)) and (
            not marks or match[1].isupper() == marks[0][1].isupper()
        ):
            marks.append(match)
    if len(marks) < 2:
        return {}
    ends = [mark.start() for mark in marks[1:]] + [len(line)]
    return {
        mark[1].upper(): line[mark.end() : end].strip(" .,;") for mark, end in zip(marks, ends, strict=True)
    }  # fmt: skip


def picks(options: dict[str, str], text: str) -> frozenset[str] | None:
    """The letters that ``text`` picks by letter, by text or both; empty when the two disagree, None for neither."""
    line = plain(text).strip(" .。,;!")
    match = _PICK.match(line)
    if match and match["letter"].upper() in options and (match["sep"].strip() or not match["text"]):
        letter, said = match["letter"].upper(), match["text"].strip()
        if not said or same_text(options[letter], said):
            return frozenset(letter)
        if any(same_text(other, said) for other in options.values()):
            return frozenset()
    named = {letter for letter, said in options.items() if same_text(said, line)}
    if named:
        return frozenset(named)
    if match and match["letter"].upper() in options and same_text(options[match["letter"].upper()], match["text"]):
        return frozenset(match["letter"].upper())
    bare = re.sub(r"\b(?:and|both)\b|[和及]", "", line)
    if _SEVERAL.fullmatch(line):
        letters = re.findall("[A-H]", bare.upper())
        return frozenset(letters) if set(letters) <= set(options) and len(set(letters)) > 1 else None
    return None


def same_text(first: str, second: str) -> bool:
    """Whether two options read alike, in words or as one number."""
    if key(first) and key(first) == key(second):
        return True
    values = {(one.value, one.unit) for one in read_quantities(first) if not one.noun and not one.bound}
    return any((one.value, one.unit) in values and not one.noun and not one.bound for one in read_quantities(second))
