"""A question in the making, as the stages of the pipeline hand it on, and what a stage is given and gives back.

Rows travel as Parquet. ``to_dict`` and ``from_dict`` are exact inverses, also by way of ``CANDIDATE_SCHEMA``.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar

import pyarrow as pa

from osvl_plugins.settings import Settings

if TYPE_CHECKING:
    from osvl_plugins.corpus.corpus import Corpus
    from osvl_plugins.curation.graph.store import Graph
    from osvl_plugins.curation.language.protocol import Language

Split = Literal["train", "held_out"]
GRAPH_SOURCE = "graph"
"""``Candidate.source`` of the questions that the pipeline makes itself."""
ID_DIGITS = 16

_STRINGS = pa.list_(pa.string())
_HOP = pa.struct(
    [("relation", pa.string()), ("inverse", pa.bool_()), ("anchor", pa.string()), ("position", pa.int64())]
)
_REWRITE = pa.struct([("node", pa.string()), ("description", pa.string()), ("form", pa.string()), ("fits", pa.int64())])
_REPAIR = pa.struct(
    [
        ("tool", pa.string()),
        ("arguments", pa.string()),
        ("metric", pa.string()),
        ("before", pa.float64()),
        ("after", pa.float64()),
    ]
)
CANDIDATE_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("split", pa.string()),
        ("source", pa.string()),
        ("path", _STRINGS),
        ("hops", pa.list_(_HOP)),
        ("attribute", pa.string()),
        ("answer", pa.string()),
        ("accepted", _STRINGS),
        ("canonical", pa.string()),
        ("question", pa.string()),
        ("rewrites", pa.list_(_REWRITE)),
        ("image", pa.binary()),
        ("image_source", pa.string()),
        ("image_licence", pa.string()),
        ("view", pa.string()),
        ("repair", _REPAIR),
        ("evidence", _STRINGS),
        ("verdicts", pa.map_(pa.string(), pa.bool_())),
        ("trajectories", _STRINGS),
        ("seed", pa.int64()),
    ]
)
REJECT_SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "stage", "reason", "detail")])


class Hop(NamedTuple):
    """A step of the path to its next page.

    ``relation``: the labelled edge, "" for a hyperlink alone. ``inverse``: that edge leads back. ``anchor`` and
    ``position``: text and place of the hyperlink, "" and −1 where there is none.
    """

    relation: str
    inverse: bool = False
    anchor: str = ""
    position: int = -1


class Rewrite(NamedTuple):
    """A page's name in the question, replaced by a description, and the certificate of that.

    ``node``: id of the page. ``form``: the description's logical form (``osvl_plugins.curation.forms``), as JSON, with
    the page before it on the path as a constant. ``fits``: pages of the whole graph that fit the form; 1 in what
    stands.
    """

    node: str
    description: str
    form: str
    fits: int


@dataclass(frozen=True)
class Repair:
    """The tool that repairs a degraded image, the arguments that do, and the proof: a metric before and after."""

    tool: str
    arguments: Mapping[str, Any]
    metric: str
    before: float
    after: float


@dataclass(frozen=True)
class Candidate:
    """A question with all that it was made from. What a stage has not filled in yet is empty.

    ``id``: ``stable_id`` of what the row is made from; it stays the same from the first stage to the last. ``source``:
    ``GRAPH_SOURCE``, or the name of an imported set, whose rows have no path. ``path``: page ids, from the anchor that
    the image shows to the page whose ``attribute`` is asked for, one more than ``hops``. ``accepted``: the answer and
    what else is right. ``canonical``: the question that names the path; ``question``: its current wording. ``image``:
    a JPEG or PNG file. ``evidence``: pages that an answer rests on. ``verdicts``: whether a solver, by name, got it
    right. ``trajectories``: accepted expert trajectories, as JSON.
    """

    id: str
    split: Split
    source: str = GRAPH_SOURCE
    path: tuple[str, ...] = ()
    hops: tuple[Hop, ...] = ()
    attribute: str = ""
    answer: str = ""
    accepted: tuple[str, ...] = ()
    canonical: str = ""
    question: str = ""
    rewrites: tuple[Rewrite, ...] = ()
    image: bytes = field(default=b"", repr=False)
    image_source: str = ""
    image_licence: str = ""
    view: str = ""
    repair: Repair | None = None
    evidence: tuple[str, ...] = ()
    verdicts: Mapping[str, bool] = field(default_factory=dict)
    trajectories: tuple[str, ...] = ()
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """A row of ``CANDIDATE_SCHEMA``."""
        repair = asdict(self.repair) if self.repair else None
        if repair is not None:
            repair["arguments"] = json.dumps(repair["arguments"], ensure_ascii=False, sort_keys=True)
        return {
            **{name: getattr(self, name) for name in CANDIDATE_SCHEMA.names},
            "path": list(self.path),
            "hops": [hop._asdict() for hop in self.hops],
            "accepted": list(self.accepted),
            "rewrites": [rewrite._asdict() for rewrite in self.rewrites],
            "repair": repair,
            "evidence": list(self.evidence),
            "verdicts": sorted(self.verdicts.items()),
            "trajectories": list(self.trajectories),
        }

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Candidate:
        """Inverse of ``to_dict``."""
        repair = row["repair"]
        return cls(
            **{
                **row,
                "path": tuple(row["path"]),
                "hops": tuple(Hop(**hop) for hop in row["hops"]),
                "accepted": tuple(row["accepted"]),
                "rewrites": tuple(Rewrite(**rewrite) for rewrite in row["rewrites"]),
                "repair": Repair(**{**repair, "arguments": json.loads(repair["arguments"])}) if repair else None,
                "evidence": tuple(row["evidence"]),
                "verdicts": dict(row["verdicts"]),
                "trajectories": tuple(row["trajectories"]),
            }
        )


class Reject(NamedTuple):
    """Why a stage let a row go. ``reason`` is of the stage's closed vocabulary, ``detail`` is for a person."""

    id: str
    stage: str
    reason: str
    detail: str = ""


class StageResult(NamedTuple):
    """What a stage keeps, in the order in which it was given, and what it lets go."""

    rows: list[Candidate]
    rejects: list[Reject]


S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class StageContext(Generic[S]):
    """What a stage works with. ``corpus``: the embedded corpus behind ``graph``, where it is one's."""

    seed: int
    settings: S
    graph: Graph
    language: Language
    corpus: Corpus | None = None

    def rng(self, stage: str, row: Candidate) -> random.Random:
        """The random numbers of a row in a stage, whatever the order and the parallelism."""
        return random.Random(f"{self.seed}/{stage}/{row.id}")


def stable_id(*parts: object) -> str:
    """16 hex digits that follow from ``parts`` alone: strings, numbers and sequences of them."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()[:ID_DIGITS]


def candidates_table(rows: Iterable[Candidate]) -> pa.Table:
    """Rows as a table of ``CANDIDATE_SCHEMA``."""
    return pa.Table.from_pylist([row.to_dict() for row in rows], schema=CANDIDATE_SCHEMA)


def candidates(table: pa.Table) -> list[Candidate]:
    """Inverse of ``candidates_table``."""
    return [Candidate.from_dict(row) for row in table.to_pylist()]


def rejects_table(rejects: Iterable[Reject]) -> pa.Table:
    """Rejects as a table of ``REJECT_SCHEMA``."""
    return pa.Table.from_pylist([reject._asdict() for reject in rejects], schema=REJECT_SCHEMA)
