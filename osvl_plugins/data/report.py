"""What became of the rows of an import: how many were kept, and why the others were not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

from osvl_plugins.errors import OsvlError

Reason = Literal[
    "bad_json",  # the row cannot be read as JSON
    "too_long",  # the row is over the limit of characters
    "wrong_fields",  # a field is missing or of another type than the release's
    "roles",  # the turns are not human, gpt, observation, gpt, …, gpt: LLaMA-Factory skips such a row too
    "image_count",  # <image> marks and pictures differ in number, or an answer holds a mark
    "too_many_images",  # more pictures than an episode may have
    "tools",  # the tools are no list of function schemas
    "not_unicode",  # text that cannot be encoded
    "picture_missing",  # a picture is neither in the folder nor in an archive
    "picture_unreadable",  # a picture is damaged, or of a format that is not read
    "picture_too_large",  # a picture has too many bytes or pixels
]
REASONS: tuple[Reason, ...] = get_args(Reason)
DETAIL_CHARS = 300


class Rejected(OsvlError):
    """A row that cannot be used; it is counted and never ends an import."""

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason: Reason = reason
        self.detail = detail[:DETAIL_CHARS].encode("utf-8", "replace").decode()
        super().__init__(reason, self.detail)


class Reject(NamedTuple):
    """A line of ``rejects.jsonl``."""

    id: str
    reason: Reason
    detail: str


@dataclass
class Tally:
    """The rows of one subset."""

    kept: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    """By reason."""
    warnings: Counter[str] = field(default_factory=Counter)
    """What is odd about rows that were kept, by kind."""
    pictures: Counter[str] = field(default_factory=Counter)
    """Pictures of the rows that were kept: ``unchanged``, ``scaled``, ``converted``."""

    def add(self, other: Tally) -> None:
        """Count ``other`` in."""
        self.kept += other.kept
        self.rejected += other.rejected
        self.warnings += other.warnings
        self.pictures += other.pictures


class Report:
    """The tallies of all subsets."""

    def __init__(self) -> None:
        self.tallies: dict[str, Tally] = {}

    def __getitem__(self, subset: str) -> Tally:
        return self.tallies.setdefault(subset, Tally())

    @property
    def kept(self) -> int:
        """Rows kept in all."""
        return sum(tally.kept for tally in self.tallies.values())

    @property
    def rejected(self) -> int:
        """Rows rejected in all."""
        return sum(tally.rejected.total() for tally in self.tallies.values())

    def add(self, other: Report) -> None:
        """Count ``other`` in."""
        for subset, tally in other.tallies.items():
            self[subset].add(tally)

    def lines(self) -> Iterable[str]:
        """For a person, subset by subset."""
        for subset, tally in sorted(self.tallies.items()):
            yield f"{subset}: {tally.kept:,} rows kept, {tally.rejected.total():,} rejected{_listed(tally.rejected)}"
            if tally.pictures:
                yield f"  {tally.pictures.total():,} pictures{_listed(tally.pictures)}"
            if tally.warnings:
                yield f"  kept in spite of{_listed(tally.warnings)}"
        yield f"all: {self.kept:,} rows kept, {self.rejected:,} rejected"

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values, in an order that depends on nothing but the values."""
        return {
            subset: {
                "kept": tally.kept,
                "rejected": dict(sorted(tally.rejected.items())),
                "warnings": dict(sorted(tally.warnings.items())),
                "pictures": dict(sorted(tally.pictures.items())),
            }
            for subset, tally in sorted(self.tallies.items())
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Report:
        """Inverse of ``to_dict``."""
        report = cls()
        for subset, values in data.items():
            report.tallies[subset] = Tally(
                values["kept"], *(Counter(values[name]) for name in ("rejected", "warnings", "pictures"))
            )
        return report


def _listed(counts: Counter[str]) -> str:
    """`` (2 a, 1 b)``, the most frequent first; nothing for no counts."""
    shown = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return f" ({', '.join(f'{count:,} {name}' for name, count in shown)})" if shown else ""
