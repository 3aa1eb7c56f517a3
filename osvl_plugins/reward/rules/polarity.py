"""Yes and no: which of them a text says."""

from __future__ import annotations

import re

from osvl_plugins.reward.rules.text import normalise, tokens, vocabulary

_YES = vocabulary("yes yeah yep yup true correct indeed affirmative certainly 是 是的 对 对的 正确 真 没错")
_NO = vocabulary(
    "no nope nah false incorrect untrue negative wrong 否 不 不是 不对 错 错误 不正确 没有 假"
) | {"not true", "not correct"}  # fmt: skip
_GOLD = (_YES | _NO) - {"wrong", "negative", "affirmative", "certainly", "indeed"}
"""What makes a question one of yes or no: "wrong" may be a title, and "negative" a pole."""
_NOT = vocabulary("no not never nor none neither isnt wasnt arent werent dont doesnt didnt cannot cant hasnt hadnt")
_TURN = vocabulary("but however although though or yes yeah maybe perhaps probably possibly unless unsure if depends")
_ABSTAINING = frozenset({"unknown", "unclear", "it depends", "depends", "maybe", "perhaps", "not sure", "yes and no",
    "yes or no", "not really", "i dont know", "i do not know", "cannot tell", "不知道", "不确定"})  # fmt: skip
_HEAD = re.compile(r"^(.{1,12}?)(?:[,.!;:，。！；：\s]|$)(.*)$", re.DOTALL)
_ASKS_MORE = re.compile(
    r"\W*(?:\w+ )?(?:what|which|who|whose|whom|where|when|why|how)\b|.*(?:什么|哪|谁|多少|几)", re.IGNORECASE
)
_BARE_AUXILIARY = re.compile(
    r"(?:^|.* )(?:it|he|she|they|there|that|this) (?:is|was|are|were|did|does|do|has|have|had|can|could)"
)


def is_polar(question: str, gold: str) -> bool:
    """Whether ``gold`` is a yes or a no, and ``question`` does not ask for a name that reads like one."""
    return normalise(gold) in _GOLD and not _ASKS_MORE.match(question)


def polarity(text: str) -> bool | None:
    """True for a yes, False for a no; None for neither, both or a doubt."""
    whole = normalise(text)
    if text.rstrip().endswith(("?", "？")):
        return None
    if whole in _YES or whole in _NO:
        return whole in _YES
    head = _HEAD.match(text.strip())
    if head is None:
        return None
    said, words = normalise(head[1]), tokens(head[2])
    rest = set(words)
    if said in _YES:
        return None if rest & (_NOT | _TURN - {"yes", "yeah"}) or any(char in "不没非否" for char in rest) else True
    if said in _NO and said != "wrong":
        # "No, they did" and "no doubt" take the no back.
        contradicted = _BARE_AUXILIARY.fullmatch(" ".join(words)) or (words and head[2].strip() and _glued(text, said))
        return None if rest & _TURN or contradicted else False
    return None


def _glued(text: str, said: str) -> bool:
    """Whether the no belongs to the next word: "no doubt", "no longer"."""
    after = text.strip()[len(said) :]
    return not re.match(r"\s*[,.!;:，。！；：]", after)


def abstains(text: str) -> bool:
    """Whether ``text`` takes no side."""
    return normalise(text) in _ABSTAINING
