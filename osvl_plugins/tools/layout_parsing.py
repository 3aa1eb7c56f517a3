"""layout_parsing: the text of a picture, with the kind and the place of every part."""

from __future__ import annotations

from typing import ClassVar

from pydantic import AliasChoices, Field

from osvl_plugins.backends.layout import Block, Layout, Reader
from osvl_plugins.tools.base import Arguments, ToolContext, ToolResult


class LayoutParsingArguments(Arguments):
    image: str = Field(
        validation_alias=AliasChoices("image", "file_path"), description="Name of the picture, e.g. img_1."
    )
    use_chart_recognition: bool = Field(default=False, description="Also read charts as data.")
    use_doc_orientation_classify: bool = Field(
        default=False, description="Expect a page that may lie on its side or its head."
    )


class LayoutParsing:
    """Reads with ``reader``. ``file_path`` is another name for ``image``: it names a picture, never a file."""

    name: ClassVar[str] = "layout_parsing"
    description: ClassVar[str] = (
        "Read the text of a picture. Gives its parts in reading order, each as [kind x,y widthxheight] text, "
        "in pixels of the picture."
    )
    arguments: ClassVar[type[Arguments]] = LayoutParsingArguments

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.backend = reader.name

    async def run(self, arguments: LayoutParsingArguments, context: ToolContext) -> ToolResult:
        source = context.images.resolve(arguments.image)
        charts = arguments.use_chart_recognition
        layout = await self._reader.read(
            context.images.original(source), charts, arguments.use_doc_orientation_classify
        )
        return ToolResult(text=render(layout, charts), source=source)


def render(layout: Layout, charts: bool) -> str:
    """``layout`` as the model reads it; ``charts`` says whether charts were asked for."""
    lines = []
    if layout.turned:
        lines.append(
            f"(read after turning the picture {layout.turned} degrees clockwise; the boxes are of the original)"
        )
    if layout.scale < 1:
        lines.append(f"(read at {layout.scale:.0%} of its size; crop a part to read small print)")
    if charts and not layout.charts:
        lines.append("(charts cannot be read as data here; what is written in them is below)")
    lines += [_line(block) for block in layout.blocks]
    if not any(block.text for block in layout.blocks):
        lines.append("No text found.")
    if layout.omitted:
        lines.append(f"({layout.omitted} more parts are left out; crop a part to read it)")
    return "\n".join(lines)


def _line(block: Block) -> str:
    box = block.box
    head = f"[{block.kind} {box.x},{box.y} {box.width}x{box.height}]"
    if block.kind == "table" and block.text:
        return f"{head}\n{block.text}"
    return " ".join([head, *block.text.split()])
