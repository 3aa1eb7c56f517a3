"""A look-alike of the released data: its folders, its files, its rows, with small pictures."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

HUB_FILES = {
    "fvqa": "fvqa/fvqa_llama_factory_clean.json",
    "livevqa": "livevqa/livevqa_llama_factory_filtered.json",
    "palace": "palace/palace_llama_factory_filtered.json",
    "webqa": "webqa/webqa_llama_factory_filtered.json",
    "wiki_art": "wiki_art/wikiart_llama_factory_filtered.json",
    "wiki_en": "wiki_en/wiki_en_llama_factory_filtered.json",
    "wiki_zh": "wiki_zh/wiki_zh_llama_factory_filtered.json",
}
"""As the data set is published."""
REPOSITORY_FILES = {
    **HUB_FILES,
    "fvqa": "new_fvqa/fvqa_llama_factory_clean.json",
    "livevqa": "new_livevqa/livevqa_llama_factory_filtered.json",
    "webqa": "WebQA/webqa_llama_factory_filtered.json",
    "wiki_art": "wikiart/wikiart_llama_factory_filtered.json",
}
"""As the release's training code expects it."""
RL_DATASETS = ("new_livevqa", "WebQA", "demo_1k", "wiki_zh", "wiki_en", "palace", "wikiart", "new_fvqa")

SYSTEM = "You answer questions about pictures.\nToday you have tools."
TOOLS = [
    {"type": "function", "function": {"name": name, "description": name, "parameters": {"type": "object"}}}
    for name in ("crop", "image_search", "text_search", "PythonInterpreter")
]


def picture(seed: int, size: tuple[int, int] = (48, 32), kind: str = "JPEG") -> bytes:
    """An encoded picture of its own."""
    draw = random.Random(seed)
    small = Image.frombytes("RGB", (8, 6), draw.randbytes(8 * 6 * 3))
    buffer = io.BytesIO()
    small.resize(size, Image.Resampling.BICUBIC).save(buffer, kind)
    return buffer.getvalue()


def call(name: str, **arguments: Any) -> str:
    """A turn that calls a tool, as the release writes it."""
    text = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return f"<think>\nLet me see.\n</think>\n<tool_call>\n{text}\n</tool_call>"


def sft_row(images: Sequence[str], answer: str = "1988", filler: int = 0) -> dict[str, Any]:
    """A trajectory: a picture search, a crop for each further picture, a text search, the answer."""
    turns = [
        ("human", "<image>\nWhat was 《built》 first?"),
        ("gpt", call("image_search", url="img_1")),
        ("observation", "<observation>\nTool execution result:\n[{'title': 'A bridge'}]\n</observation>"),
    ]
    for number in range(3, len(images) + 2):
        turns += [
            ("gpt", call("crop", image="img_1", x=0, y=0, width=20, height=10)),
            ("observation", f"<image><observation>\nImage cropped. New image ID: img_{number}.\n</observation>"),
        ]
    turns += [
        ("gpt", call("text_search", q="bridge 桥", hl="en", top_k=5)),
        ("observation", f"<observation>\n[Passage 1]\nTitle: Bridge\n{'text ' * filler}\n</observation>"),
        ("gpt", f"<think>\nSo be it.\n</think>\n<response>\nIt is \\boxed{{{answer}}}.\n</response>"),
    ]
    return {
        "conversations": [{"from": role, "value": text} for role, text in turns],
        "images": list(images),
        "system": SYSTEM,
        "tools": json.dumps(TOOLS),
    }


def sft_rows(subset: str, count: int) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """Rows of ``subset`` and their pictures by name; every third row has a second picture."""
    rows, pictures = [], {}
    for number in range(count):
        names = [f"images/{subset}_{number}_{i}.jpg" for i in range(2 if number % 3 == 0 else 1)]
        for i, name in enumerate(names):
            size = (900, 700) if number % 5 == 0 else (48 + number, 32)
            pictures[name] = picture(hash((len(subset), number, i)), size)
        rows.append(sft_row(names, answer=f"{subset} {number}"))
    return rows, pictures


def rl_rows(count: int) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """Questions and their pictures by name."""
    rows, pictures = [], {}
    for number in range(count):
        dataset = RL_DATASETS[number % len(RL_DATASETS)]
        kind = ("JPEG", "PNG", "WEBP")[number % 3]
        name = f"images/{dataset}/{number}.{kind.lower()}"
        pictures[name] = picture(number, (64, 40 + number % 7), kind)
        answer = f"It was built long ago. \\boxed{{{number}}}"
        rows.append(
            {"question": f"When was number {number} built?", "answer": answer, "images": [name], "dataset": dataset}
        )
    return rows, pictures


def write_zip(file: Path, pictures: Mapping[str, bytes]) -> None:
    """An archive of ``pictures``, as the release packs them."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in pictures.items():
            archive.writestr(zipfile.ZipInfo(name), data)


def write_folder(folder: Path, pictures: Mapping[str, bytes]) -> None:
    """``pictures`` as files."""
    for name, data in pictures.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def write_list(file: Path, rows: Sequence[Any]) -> None:
    """``rows`` as the release writes a subset: one indented JSON list."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(rows, ensure_ascii=False, indent=2), "utf-8")


def write_sft(root: Path, counts: Mapping[str, int], files: Mapping[str, str] = HUB_FILES, packed: bool = True) -> None:
    """The SFT data with ``counts`` rows a subset."""
    for subset, count in counts.items():
        rows, pictures = sft_rows(subset, count)
        file = root / files[subset]
        write_list(file, rows)
        if packed:
            write_zip(file.parent / "images.zip", pictures)
        else:
            write_folder(file.parent, pictures)


def write_rl(root: Path, rows: Sequence[Any], pictures: Mapping[str, bytes]) -> None:
    """The RL data as it is published."""
    root.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (root / "rl_data.jsonl").write_text(lines, "utf-8")
    write_zip(root / "images.zip", pictures)
