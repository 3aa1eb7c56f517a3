"""Names of people: initials, "Last, First", titles, particles, regnal numbers."""

from __future__ import annotations

import re

from osvl_plugins.reward.rules.numerals import read_number
from osvl_plugins.reward.rules.text import is_han, key, numbered, plain, vocabulary

_TITLES = vocabulary(
    "sir dame lord lady mr ms miss mme madame monsieur dr doctor prof professor president king queen emperor"
    " empress pope prince princess gen general capt captain col colonel rev reverend senator saint tsar sultan"
    " duke count herr frau"
)
"""Not "Mrs": Mrs George Washington is somebody else."""
_KEPT_TITLES = vocabulary("prince princess lord lady general gen captain count duke saint capt col colonel")
"""An accepted answer keeps these: Prince Edward Island is no Edward Island."""
_PARTICLES = vocabulary("van von der den de del della di da la le du dos das do ten ter zu zum af av al el bin ibn")
_POSTNOMINALS = vocabulary("cbe obe mbe kbe phd md esq frs om kc qc bsc msc mp")
_NICKNAMES = vocabulary(
    "bill bob dick ted ned jack harry hank chuck rick peggy polly molly betty liz tony gus sandy sasha"
)
"""Short for a name with another initial, so that another initial says nothing."""
_ROMAN = numbered("i ii iii iv v vi vii viii ix x xi xii xiii xiv xv xvi xvii xviii xix xx")
_COMMA = re.compile(r"^([^,]{2,60}), ([^,]{1,60})$")
_INITIALS = re.compile(r"\b((?:[A-Z]\.\s?){2,4})|\b([A-Z]{2,3})(?= [A-Z][a-z])")
_NAME = re.compile(r"[^\W\d_](?:[^\W_]|[\s.,'’\"&()-])*", re.UNICODE)
_DIGIT = re.compile(r"\d(?!\d?$)")
MAX_NAME_WORDS = 8


def same_name(gold: str, said: str) -> bool | None:
    """Whether ``said`` names whom ``gold`` names; None when only a part of the name agrees, False for another name.

    The last name must stand in full and every other name in full or by its initial, in the same number. A first name
    that ``gold`` gives only by its initial must be given so, unless another first name agrees in full.
    """
    titles = _TITLES - _KEPT_TITLES
    forms = [(one, other) for one in _forms(gold, titles) for other in _forms(said, _TITLES)]
    if not forms:
        return None
    if any(_agree(one, other) for one, other in forms):
        return True
    one, other = forms[0]
    if len(one) != len(other) or {one[0], other[0]} & _NICKNAMES:
        return None
    if one[-1] == other[-1] and one[0][0] != other[0][0]:
        return False  # Marie Curie, Pierre Curie
    if one[:-1] == other[:-1] and one[-1].isdigit() and other[-1].isdigit():
        return False  # Elizabeth I, Elizabeth II
    return None


def _forms(text: str, titles: frozenset[str]) -> list[list[str]]:
    """The words of a name without title and particles, as written and, after one comma, in the other order.

    None at all for what is no name of at least two words.
    """
    line = plain(text).strip(" .\"'“”")
    if is_han(line) or len(line) > 120 or not _NAME.fullmatch(line) or _DIGIT.search(line):
        return []
    line = _INITIALS.sub(lambda found: " ".join(char for char in found[0] if char.isalpha()) + " ", line)
    orders = [line]
    if match := _COMMA.match(line):
        orders.append(f"{match[2]} {match[1]}")
    found = []
    for order in orders:
        words = _stripped([_number(word) for word in _words(order)], titles)
        if 2 <= len(words) <= MAX_NAME_WORDS:
            found.append(words)
    return found


def _words(text: str) -> list[str]:
    """Words with regnal "the Eighth" and "VIII" alike at the end."""
    return [key(word) for word in re.split(r"[\s-]+", text) if key(word)]


def _number(word: str) -> str:
    read = read_number(word) if word.isalpha() else None
    return str(read.value) if read and read.ordinal and read.end == len(word) else word


def _stripped(words: list[str], titles: frozenset[str]) -> list[str]:
    while len(words) > 1 and words[-1] in _POSTNOMINALS:
        words = words[:-1]
    if len(words) > 1 and words[-1] in _ROMAN:
        words = [*words[:-1], str(_ROMAN[words[-1]])]
    while len(words) > 2 and words[0] in titles:
        words = words[1:]
    return [word for at, word in enumerate(words) if at == 0 or at == len(words) - 1 or word not in _PARTICLES]


def _agree(gold: list[str], said: list[str]) -> bool:
    if len(gold) != len(said) or gold[-1] != said[-1]:
        return False
    full = sum(one == other for one, other in zip(gold[:-1], said[:-1], strict=True))
    for one, other in zip(gold[:-1], said[:-1], strict=True):
        if one == other or (len(other) == 1 and one[0] == other and one.isalpha()):
            continue
        if len(one) == 1 and other[0] == one and other.isalpha() and full:
            continue
        return False
    return True
