"""Which paths through a graph make a question (arXiv 2605.05185, section 3)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from osvl_plugins.curation.graph.article import NodeFlag
from osvl_plugins.settings import Settings

MAX_HOPS = 8

Kind = Literal["list", "disambiguation", "date"]


class PathRules(Settings):
    """A path leads from an anchor, whose picture is shown, over bridges to the answer page, whose fact is asked for.

    The defaults are the published rules where there is one, and fit a graph of Wikipedia's size.
    """

    edges: Literal["links", "facts"] = "links"
    """What a hop follows: hyperlinks, or labelled edges only."""
    inverse: bool = True
    """Labelled edges are also followed backwards, where relation and page name one source."""
    hop_shares: dict[Annotated[int, Field(ge=1, le=MAX_HOPS)], Annotated[float, Field(gt=0)]] = Field(
        default={2: 0.4, 3: 0.4, 4: 0.2}
    )
    """Shares of path lengths."""
    anchor_in_degree: tuple[int, int] = (50, 10_000)
    """Fewest and most articles that link to an anchor."""
    hub_in_degree: int = Field(default=10_000, ge=1)
    """A page that more articles link to is on no path."""
    min_image_side: int = Field(default=512, ge=0)
    """Shorter side of an anchor's picture in pixels; with 0 a picture of unknown size will do."""
    anchor_infobox: bool = True
    """Whether an anchor needs a fact."""
    excluded: tuple[Kind, ...] = ("list", "disambiguation", "date")
    """Kinds of pages that are on no path."""
    retries: int = Field(default=10, ge=0)
    """How often a path that leads nowhere is tried again from the same anchor."""
    degree_bias: float = Field(default=0.5, ge=0, le=1)
    """A link counts as the in-degree of its target to the power of minus this: 0 makes all links equal."""
    held_out_share: float = Field(default=0.1, ge=0, lt=1)
    """Share of the pages on the held-out side; no path has pages of both."""
    split: Literal["hash", "links"] = "hash"
    """How sides are dealt: by title, or along links, which a small graph needs for paths to fit on the smaller side."""
    split_seed: int = 0
    """Another deals the sides anew; it is not the run's seed, so that runs share their sides."""

    @field_validator("hop_shares")
    @classmethod
    def _some(cls, shares: dict[int, float]) -> dict[int, float]:
        if not shares:
            raise ValueError("at least one path length is needed")
        return dict(sorted(shares.items()))

    @field_validator("anchor_in_degree")
    @classmethod
    def _rising(cls, bounds: tuple[int, int]) -> tuple[int, int]:
        if bounds[0] > bounds[1]:
            raise ValueError("the fewest must not be over the most")
        return bounds

    @property
    def excluded_flags(self) -> NodeFlag:
        """The flags of ``excluded``."""
        flags = NodeFlag(0)
        for kind in self.excluded:
            flags |= NodeFlag[kind.upper()]
        return flags


PRESETS: dict[str, PathRules] = {
    "wikipedia": PathRules(),
    # Of some hundred to some thousand pages: a hub is what a tenth of the embedded corpus links to, any linked
    # picture is an anchor, and a quarter is held out so that paths of four hops fit on that side.
    "small": PathRules(
        edges="facts",
        anchor_in_degree=(0, 100),
        hub_in_degree=100,
        min_image_side=0,
        held_out_share=0.25,
        split="links",
    ),
}
"""Rules by the size of the graph."""
