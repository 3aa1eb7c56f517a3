"""Dataset for verl's SFT trainer that tokenises a conversation exactly as the rollout does.

Use it with ``data.custom_cls.path=pkg://osvl_plugins.verl.sft_dataset data.custom_cls.name=ConversationDataset``.
verl's own dataset templates each message several times and checks the result, 14 ms a row on a CPU; this one renders
each message once, through the code that the agent loop uses.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from PIL import Image
from torch.utils.data import Dataset

from osvl_plugins.conversation import ChatTokens, Message
from osvl_plugins.errors import SettingError

_IMAGE = re.compile(r"(<image>)")


class ConversationDataset(Dataset[dict[str, Any]]):
    """Rows of ``messages``, ``images`` and ``tools`` (a JSON string) in verl's SFT format.

    An item has ``input_ids``, ``loss_mask`` (tokens,) with 1 on what the assistant wrote and the end of its turn,
    ``position_ids`` (4, tokens) for models with multimodal rotary positions, and ``multi_modal_inputs``.
    """

    def __init__(
        self, parquet_files: Any, tokenizer: Any, config: Any, processor: Any = None, max_samples: int = -1
    ) -> None:
        if config.get("pad_mode", "no_padding") != "no_padding":
            raise SettingError("data.pad_mode", f"must be no_padding, got {config.get('pad_mode')!r}")
        files = [parquet_files] if isinstance(parquet_files, str | Path) else list(parquet_files)
        self.rows: list[dict[str, Any]] = []
        for file in files:
            self.rows += pq.read_table(file, columns=["messages", "images", "tools"]).to_pylist()
        if max_samples > 0:
            self.rows = self.rows[:max_samples]
        self.chat = ChatTokens(processor if processor is not None else tokenizer)
        self.processor = processor
        self.max_length = int(config.get("max_length", 32_768))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.rows[index]
        images = [Image.open(io.BytesIO(image["bytes"])).convert("RGB") for image in row["images"] or ()]
        tools = json.loads(row["tools"]) if row["tools"] else None
        ids, mask = conversation_ids(self.chat, row["messages"], images, tools)
        if len(ids) > self.max_length:
            raise SettingError("data.max_length", f"row {index} has {len(ids)} tokens, over {self.max_length}")
        input_ids = torch.tensor(ids)
        item: dict[str, Any] = {"input_ids": input_ids, "loss_mask": torch.tensor(mask)}
        item["position_ids"] = torch.arange(len(ids))
        if images:
            vision = self.processor.image_processor(images=images, return_tensors="pt")
            item["multi_modal_inputs"] = dict(vision)
            item["position_ids"] = self._positions(input_ids, vision["image_grid_thw"])
        return item

    def _positions(self, input_ids: torch.Tensor, image_grid_thw: torch.Tensor) -> torch.Tensor:
        rope_index = getattr(self.processor, "get_rope_index", None)
        if rope_index is None:
            return torch.arange(len(input_ids))
        ids = input_ids.unsqueeze(0)
        vision, _ = rope_index(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            image_grid_thw=image_grid_thw,
            video_grid_thw=None,
            mm_token_type_ids=(ids == self.processor.image_token_id).long(),
        )
        return torch.cat((torch.arange(len(input_ids)).unsqueeze(0), vision.squeeze(1)), dim=0)


def conversation_ids(
    chat: ChatTokens,
    messages: Sequence[Message],
    images: Sequence[Image.Image],
    tools: list[dict[str, Any]] | None,
) -> tuple[list[int], list[int]]:
    """Token ids and loss mask of a whole conversation; ``<image>`` in a message stands for the next of ``images``.

    Raises ``ValueError`` when roles do not alternate as assistant, tool, assistant, … after the prompt.
    """
    remaining = list(images)
    first = next((i for i, message in enumerate(messages) if message["role"] == "assistant"), len(messages))
    prompt = [_parts(message) for message in messages[:first]]
    shown = sum(part["type"] == "image" for message in prompt for part in message["content"])
    ids = chat.prompt(prompt, remaining[:shown], tools)
    mask = [0] * len(ids)
    remaining = remaining[shown:]
    for position, message in enumerate(messages[first:]):
        if message["role"] != ("tool" if position % 2 else "assistant"):
            raise ValueError(f"message {first + position} has role {message['role']!r}, out of turn")
        if message["role"] == "assistant":
            new = chat.turn(message["content"])
        else:
            count = message["content"].count("<image>")
            new = chat.observation(message["content"].replace("<image>", ""), remaining[:count])
            remaining = remaining[count:]
        ids += new
        mask += [int(message["role"] == "assistant")] * len(new)
    if remaining:
        raise ValueError(f"the messages leave {len(remaining)} of {len(images)} pictures unused")
    return ids, mask


def _parts(message: Message) -> Message:
    parts = [
        {"type": "image"} if piece == "<image>" else {"type": "text", "text": piece}
        for piece in _IMAGE.split(message["content"])
        if piece
    ]
    return {"role": message["role"], "content": parts}
