"""A tiny random Qwen3-VL for tests, and prompts for it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from osvl_plugins import torchvision_ops

torchvision_ops.allow_missing()

TEXTS = ("What is the capital of Norway? Oslo.", "The river of the country in the picture is long.")


class Tiny(NamedTuple):
    model: Any
    processor: Any


def load_tiny(folder: Path) -> Tiny:
    """Build the model in ``folder`` and load it."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from osvl_plugins.tiny import TinyShape, build_tiny

    # A large deviation makes turns that vary; with a small one tied embeddings repeat the last token.
    shape = TinyShape(128, 2, 4, 128, vision_hidden=32, init_std=0.5, pieces=300, max_positions=512)
    build_tiny(folder, TEXTS * 20, ["crop", "visit"], ["capital"], shape)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
    return Tiny(model.eval(), AutoProcessor.from_pretrained(folder))


def prompt(tiny: Tiny, pictures: int, seed: int = 0) -> tuple[list[int], list[Image.Image]]:
    """Ids of a user turn with that many differently coloured pictures and a random text around them."""
    draw = random.Random(seed)
    images = [Image.new("RGB", (64, 64), tuple(draw.randrange(256) for _ in range(3))) for _ in range(pictures)]
    parts: list[dict[str, Any]] = [{"type": "image", "image": image} for image in images]
    parts.append({"type": "text", "text": " ".join(draw.choices("abcdefgh", k=draw.randint(2, 20)))})
    text = tiny.processor.apply_chat_template([{"role": "user", "content": parts}], add_generation_prompt=True)
    ids: Sequence[int] = tiny.processor(text=[text], images=images or None)["input_ids"][0]
    return list(ids), images
