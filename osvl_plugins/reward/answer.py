r"""What an answer says, and how it is shown to a judge.

An answer is the text of the final ``<response>``. Reading it never looks for the accepted answer: the last box
``\boxed{…}`` is what is said, thoughts are not, and two ``<response>`` blocks say nothing, as in
``osvl_plugins.protocol``.

Characters that a reader cannot see (zero-width, bidirectional, tags, control) are dropped. Look-alikes are not
translated: "Paris" with a Cyrillic а is another word, so no look-alike makes a wrong answer right, and a right answer
written with one is wrong.
"""

from __future__ import annotations

import re
import unicodedata

MAX_ANSWER_CHARS = 2000
"""A longer answer is wrong: it hides the answer among others."""

_FILLERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Blank, though Unicode calls them letters, marks or symbols."""
_WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
_ARMED = dict(zip("<>[]{}|`\\▁", "‹›⟦⟧⦃⦄¦ˋ⧵_", strict=True))
"""Every special token, tag, code fence and JSON object needs one of these; the substitutes survive NFKC."""
_DISARM = str.maketrans(_ARMED)

_PLAIN = re.compile(r"[\n -~]*")
"""Most answers: nothing in them is hidden, and there are a thousand of them a second to read."""

_THINK = re.compile(r"<think(?:ing)?>(?:.*?</think(?:ing)?>|.*)", re.DOTALL | re.IGNORECASE)
_THINK_CLOSE = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_RESPONSE = re.compile(r"</?response>", re.IGNORECASE)
_BOX = re.compile(r"\\?boxed\s*\{")
_FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}\\]{1,40})\}\s*\{([^{}\\]{1,40})\}")
_STYLED = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|operatorname|emph)\s*\{([^{}\\]*)\}")
_LATEX = (
    (re.compile(r"\\(?:times|cdot)\b"), "×"),
    (re.compile(r"\^\s*\{\s*\\circ\s*\}|\^\s*\\circ\b"), "°"),
    (re.compile(r"\^\{(-?\d{1,4})\}"), r"^\1"),
    (re.compile(r"\\[,;:! ]"), " "),
    (re.compile(r"\\([%$#&_])"), r"\1"),
    (re.compile(r"\\[()\[\]]"), " "),
)
_MATH = re.compile(r"\$([^$]*)\$(?!\d)")
"""A dollar before a digit is money, not the end of a formula."""
_EMPHASIS = re.compile(r"(?<![\w*~])(\*{1,3}|__)(?=\S)([^*~_\n]{1,300})(?<=\S)\1(?![\w*~])")
_STRUCK = re.compile(r"~~[^~]*~~")
_CODE = re.compile(r"```(?:[a-z]*\n)?([^`]*)```|`([^`]*)`")


def visible(text: str) -> str:
    """``text`` without what a reader cannot see; full-width ASCII and digits of any script as plain ones."""
    if _PLAIN.fullmatch(text):
        return text
    shown = []
    for char in text:
        category = unicodedata.category(char)
        if char in "\n\t\r\u2028\u2029\x85":
            shown.append("\n" if char != "\t" else " ")
        elif category in ("Cc", "Cf", "Cs", "Co", "Cn") or char in _FILLERS or _selector(ord(char)):
            continue
        else:
            shown.append(str(unicodedata.decimal(char)) if category == "Nd" else char)
    return "".join(shown).translate(_WIDE)


def _selector(code: int) -> bool:
    """Whether it is a variation selector, which changes at most how the character before it looks."""
    return 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF


def final_answer(text: str) -> str:
    r"""What an answer says: the content of its last ``\boxed{…}``, or all of it, without thoughts, mark-up and LaTeX.

    Empty when it says nothing: only thoughts, an unclosed thought, or several ``<response>`` blocks.
    """
    spoken = _THINK_CLOSE.split(_THINK.sub(" ", visible(text)))[-1]
    parts = _RESPONSE.split(spoken)
    if spoken.lower().count("<response>") > 1:
        return ""
    return unmarked(_last_box(parts[1] if len(parts) > 1 else spoken))


def _last_box(text: str) -> str:
    """The content of the last box that closes, to its balanced brace; all of ``text`` without one."""
    boxes = {match.end() for match in _BOX.finditer(text)}
    last, end, inside = -1, -1, []
    for at, char in enumerate(text):
        if char == "{":
            inside.append(at + 1)
        elif char == "}" and inside:
            start = inside.pop()
            if start in boxes and start > last:
                last, end = start, at
    return text[last:end] if boxes and last > 0 else text


def unmarked(text: str) -> str:
    """``text`` without Markdown emphasis, code marks and the LaTeX that short answers carry."""
    text = _FRACTION.sub(r"\1/\2", text)
    for _ in range(3):  # one inside the other: \textbf{\text{…}}
        text = _STYLED.sub(r"\1", text)
    for pattern, plain in _LATEX:
        text = pattern.sub(plain, text)
    text = _MATH.sub(r"\1", text.replace("$$", "$"))
    text = _CODE.sub(lambda code: code[1] or code[2] or "", text)
    text = _STRUCK.sub(" ", text)  # what is struck out is not said
    for _ in range(2):
        text = _EMPHASIS.sub(r"\2", text)
    return text.strip()


def for_judge(text: str, limit: int = MAX_ANSWER_CHARS) -> str:
    """``text`` as one harmless line of at most ``limit`` characters, to stand between tags in a judge's prompt.

    No tag, chat-template token, code fence, JSON object, heading or role marker at the start of a line survives:
    brackets and their like become look-alikes that no tokenizer reads as control tokens, line ends become "⏎". The
    words stay, as a judge must read them: that they are data and not orders is for the prompt to say. Raises
    ``ValueError`` for a ``limit`` below 1.
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    # Past this, clipping could only drop text; it bounds the work on an enormous answer.
    seen = visible(text[: 8 * limit])
    disarmed = seen.translate(_DISARM) if seen.isascii() else "".join(map(_disarmed, seen))
    lines = disarmed.split("\n")
    line = " ⏎ ".join(part for part in (" ".join(_without_stacks(raw).split()) for raw in lines) if part)
    return line if len(line) <= limit and len(text) <= 8 * limit else line[: limit - 1] + "…"


def _disarmed(char: str) -> str:
    """``char``, or its substitute where it, or what Unicode calls compatible with it, is armed."""
    flat = unicodedata.normalize("NFKD", char)
    return "".join(_ARMED.get(part, part) for part in flat) if any(part in _ARMED for part in flat) else char


def _without_stacks(text: str) -> str:
    """``text`` with at most two combining marks on a character."""
    if text.isascii():
        return text
    kept: list[str] = []
    for char in text:
        if not (unicodedata.combining(char) and len(kept) > 1 and all(map(unicodedata.combining, kept[-2:]))):
            kept.append(char)
    return "".join(kept)
