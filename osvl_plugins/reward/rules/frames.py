"""The answer inside a short sentence: "The capital of Norway is Oslo." says "Oslo".

Only frames that repeat the question or say nothing of their own are taken off: what is left must still equal an
accepted answer as a whole, so a list, a hedge or a negation never becomes right here.
"""

from __future__ import annotations

import re

from osvl_plugins.reward.rules.text import is_han, key, plain, stem, tokens, vocabulary

MAX_FRAME_WORDS = 40
"""A longer answer is no short sentence, nor is one of more than ``MAX_CORE_CHARS``."""
MAX_CORE_CHARS = 400
_MAX_CORES = 24

_WORD = re.compile(r"[^\W_]+(?:['’.-][^\W_]+)*")
_OPINION = re.compile(
    r"^(?:well |so |therefore |hence |thus )?,? ?(?:i (?:think|believe|would say)|i'm (?:sure|certain)|in my opinion),?"
    r" (?:that )?",
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"^(?:(?:my|the|final|correct|right|short|答案|最终答案|正确答案|回答)\s?){0,3}(?:answer|solution|result|a)?\s?[:：=]\s?"
    r"(?=\S)",
    re.IGNORECASE,
)
_COPULAS = vocabulary("is was are were be has have had called named")
_OPENERS = _COPULAS | {"it's", "that's"}
_LINKS = _OPENERS | {"in", "on", "by", "at", "as"}
_NEGATIONS = vocabulary("not no never nor neither without except isn't wasn't aren't don't doesn't didn't cannot")
_STOP = re.compile(r"[.;:,?!()/|]\s|[?!;|]")
_FILLERS = vocabulary(
    "a an the it its it's that this these those he she they there his her their of in on by at to from as with for"
    " would is was are were be been has have had did do does which that's"
)
_NOUNS = vocabulary(
    "answer solution result author writer painter artist composer director inventor founder designer architect"
    " person man woman place city town country state capital river mountain island lake building year date day"
    " month number total name title value height length distance area weight population age colour color language"
    " team company"
)
_VERBS = vocabulary(
    "written painted built composed discovered invented directed founded born died opened located called named made"
    " created taken designed established published released held shown depicted"
)
_OWN = _FILLERS | _NOUNS | _VERBS | _COPULAS
_SHOW = re.compile(r"^(?:the )?(?:city|town|country|state|island|kingdom|year|month|village) of (?=\w)", re.IGNORECASE)
_IN_YEAR = re.compile(r"^(?:in|on|at|during|from) (?:the year )?(?=\w)|^the year (?=\d)", re.IGNORECASE)
_CLASSES = vocabulary(
    "river lake island species film movie novel book painting colour color animal year language president"
)
_HAN_LINK = re.compile(r"[是为為於于叫选選在有]|[:：]")
_HAN_FILLERS = frozenset("的了这那是它他她就应该為为在于於由被答案最终正确名字叫选作者首都时间地点人有共，")
_HAN_NOT = re.compile(r"[不没沒非未无無别除]")
_OFFERS = re.compile(
    r"\b(?:or|between)\b|\b(?:which|who|one|two|some|any|what) (?:one )?of\b|还是|[和与或、].*哪|哪.*[和与或、]",
    re.IGNORECASE,
)
"""A question that names the answers to choose from."""
_END = " \t\n.。!！,，;；"


def cores(question: str, answer: str) -> list[str]:
    """``answer`` itself and what is left of it without the frames it may stand in, each on one line; at most 24."""
    line = plain(answer).rstrip(_END)
    if len(line) > MAX_CORE_CHARS:
        return [line]
    found = [line]
    if is_han(line) and len(line) <= 2 * MAX_FRAME_WORDS:
        found += _han_cores(plain(question), line)
    bare = _OPINION.sub("", _LABEL.sub("", line))
    found.append(bare)
    if len(bare.split()) <= MAX_FRAME_WORDS:
        found += _framed(question, bare)
    for core in list(found):
        found += [_SHOW.sub("", core), _IN_YEAR.sub("", core), _without_class(question, core)]
        found += _without_place(question, core)
    return list(dict.fromkeys(core.strip(" \"'“”‘’「」『』《》()（）") for core in found))[:_MAX_CORES]


def _echo(question: str) -> frozenset[str]:
    """Stems of the question's words, as far as an answer may repeat them: nothing where it offers a choice."""
    if _OFFERS.search(question):
        return frozenset()
    return frozenset(stem(word) for word in tokens(question))


def _framed(question: str, line: str) -> list[str]:
    """What comes after "The capital of Norway is", and what comes before "is the capital of Norway"."""
    words = [(word[0].casefold(), word.start(), word.end()) for word in _WORD.finditer(line)]
    asked = _echo(question)
    found = []
    last, opened = 0, False
    for word, _, end in words:
        known = word in _OWN or stem(word) in asked or stem(word.removesuffix("'s")) in asked
        if not known or word in _NEGATIONS or _STOP.search(line[last:end]):
            break
        opened = opened or word in _OPENERS
        if opened and word in _LINKS:
            found.append(line[end:].strip())
        last = end
    return [core for core in found if core] + _suffixed(line, words, asked)


def _suffixed(line: str, words: list[tuple[str, int, int]], asked: frozenset[str]) -> list[str]:
    if not words or re.search(r"[;:?!()/|]|[.,]\s", line[words[0][1] :]):
        return []
    found = []
    for at in range(1, len(words)):
        rest = [word for word, _, _ in words[at:]]
        echoed = [word for word in rest if word not in _FILLERS]
        verb = rest[0] in _COPULAS or (rest[0] in echoed and stem(rest[0]) in asked)
        past = rest[0] in ("was", "were") and asked & {"is", "are"}
        if not verb or past or words[at - 1][0] in _FILLERS or not echoed:
            continue
        if all(stem(word) in asked and word not in _NEGATIONS for word in echoed):
            found.append(line[: words[at][1]].strip())
    return found


def _without_class(question: str, core: str) -> str:
    """``core`` without the class that the question asks for: "the River Seine" to "Which river …?"."""
    asked = set(tokens(question))
    words = core.split()
    if words and words[0].casefold() == "the":
        words = words[1:]
    if len(words) > 1 and words[0].casefold() in _CLASSES & asked:
        return " ".join(words[1:])
    if len(words) > 1 and words[-1].casefold() in _CLASSES & asked:
        return " ".join(words[:-1])
    return core


def _without_place(question: str, core: str) -> list[str]:
    """``core`` without the place that the question names: "Oslo, Norway" where Norway's capital is asked for."""
    parts = core.split(", ")
    if len(parts) != 2 or not key(parts[1]):
        return []
    asked = f" {key(question)} "
    offered = _OFFERS.search(question) or "," in question
    named = any(f" {link} {key(parts[1])} " in asked for link in ("of", "in"))
    return [parts[0]] if named and not offered else []


def _han_cores(question: str, line: str) -> list[str]:
    """What follows 中国的首都是, 答案是 and the like, and what comes before 建成的."""
    allowed = _HAN_FILLERS if _OFFERS.search(question) else _HAN_FILLERS | set(question)
    found = []
    for link in _HAN_LINK.finditer(line):
        before, after = line[: link.start()], line[link.end() :].lstrip()
        if after and not _HAN_NOT.search(before) and set(before) <= allowed:
            found.append(after)
            cut = len(after)
            while cut > 1 and after[cut - 1] in allowed and not after[cut - 1].isdigit():
                cut -= 1
                if after[cut:] and not _HAN_NOT.search(after[cut:]):
                    found.append(after[:cut])
    return found
