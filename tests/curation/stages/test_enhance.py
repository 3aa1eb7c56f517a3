"""The enhancement subset: every degraded picture is of no use before the repair, and of use after it."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image
from pydantic import ValidationError

from osvl_plugins.corpus.verify import SIDE
from osvl_plugins.curation.candidate import Candidate
from osvl_plugins.curation.degrade import KINDS
from osvl_plugins.curation.exposures import finds
from osvl_plugins.curation.stages.enhance import EnhanceSettings
from osvl_plugins.curation.stages.enhance import run as enhance
from osvl_plugins.images import ImageSettings, ImageStore
from osvl_plugins.tools.base import ToolContext
from osvl_plugins.trajectory import ToolCall
from tests.agents import toolset
from tests.curation.conftest import Run
from tests.curation.stages.making import context


def clean(run: Run) -> list[Candidate]:
    return run.rows("filter")


def shown(row: Candidate) -> Image.Image:
    return Image.open(io.BytesIO(row.image)).convert("RGB")


async def test_the_tool_repairs_what_image_search_does_not_find(run: Run) -> None:
    degraded = [row for row in run.rows("enhance") if row.repair]
    assert {row.view for row in degraded} == set(KINDS)
    tools = toolset(run.corpus)
    for row in degraded:
        assert row.repair is not None
        anchor, image, store = (row.path[0], 0), shown(row), ImageStore(ImageSettings())
        assert not finds(run.corpus, image, anchor)
        store.add(image)
        await tools.run(ToolCall(row.repair.tool, dict(row.repair.arguments)), ToolContext(store))
        assert finds(run.corpus, store.original("img_2"), anchor)
        assert (row.repair.metric, row.repair.before, row.repair.after) == ("image_search", 0, 1)
    await tools.aclose()


def test_a_row_is_drawn_by_its_id_alone(run: Run) -> None:
    rows, settings = clean(run)[:12], EnhanceSettings(share=0.4, kinds=("blurred",))
    whole = enhance(rows, context(run.graph, settings, run.corpus))
    parts = [enhance([row], context(run.graph, settings, run.corpus)) for row in reversed(rows)]
    assert whole.rows == [row for part in reversed(parts) for row in part.rows]


def test_a_picture_that_nothing_repairs_stays_clean_and_is_noted(run: Run) -> None:
    grey = io.BytesIO()
    Image.new("RGB", (300, 200), "grey").save(grey, "PNG")
    row = replace(clean(run)[0], image=grey.getvalue())
    kept, noted = enhance([row], context(run.graph, EnhanceSettings(share=1), run.corpus))
    assert kept == [row]
    assert [(reject.id, reject.reason) for reject in noted] == [(row.id, "not_repairable")]


def test_share_is_how_many_are_drawn(run: Run) -> None:
    rows = clean(run)[:8]
    assert enhance(rows, context(run.graph, EnhanceSettings(share=0), run.corpus)) == (rows, [])
    kept, noted = enhance(rows, context(run.graph, EnhanceSettings(share=1), run.corpus))
    assert len(noted) + sum(row.repair is not None for row in kept) == len(rows)


def test_without_a_corpus_the_repaired_picture_is_compared_with_the_clean_one(run: Run) -> None:
    rows = clean(run)[:6]
    kept, _ = enhance(rows, context(run.graph, EnhanceSettings(share=1)))
    repaired = [row.repair for row in kept if row.repair]
    assert repaired
    assert all(repair.metric == "gain" and repair.after > repair.before for repair in repaired)
    assert all(max(shown(row).size) > SIDE or row.view == "small" for row in kept)


@pytest.mark.parametrize("values", [{"share": 1.1}, {"kinds": []}, {"kinds": ["rotated"]}])
def test_settings_that_cannot_work_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        EnhanceSettings.model_validate(values)
