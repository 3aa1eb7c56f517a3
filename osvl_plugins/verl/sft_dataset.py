"""Dataset for verl's SFT trainer that tokenises a conversation exactly as the rollout does.

Use it with ``data.custom_cls.path=pkg://osvl_plugins.verl.sft_dataset data.custom_cls.name=ConversationDataset``.
verl's own dataset reads all files into memory, and templates each message several times to check the result; this one
reads a row when it is asked for and renders each message once, through the code that the agent loop uses.
"""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Sequence
from types import MethodType
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch.utils.data import Dataset

from osvl_plugins import torchvision_ops
from osvl_plugins.conversation import ChatTokens, Message, marked_parts
from osvl_plugins.curation.parquet_rows import ParquetRows
from osvl_plugins.errors import OsvlError, SettingError, ToolError
from osvl_plugins.images import ImageSettings, bounded, decode
from osvl_plugins.settings import read

logger = logging.getLogger(__name__)

# A spawned worker imports this module, and then transformers' processors, without having imported verl.
torchvision_ops.allow_missing()


class ConversationDataset(Dataset[dict[str, Any]]):
    """Rows of ``messages``, ``images`` and ``tools`` (a JSON string) in verl's SFT format.

    An item has ``input_ids``, ``loss_mask`` (tokens,) with 1 on what the assistant wrote and the end of its turn, and
    ``position_ids``. For a model that sees pictures it also has ``multi_modal_inputs``, and ``position_ids`` is
    (4, tokens) when the model has multimodal rotary positions; otherwise it is (tokens,).

    Of ``config`` it reads ``max_length``, the most tokens of a row; ``truncation``, what becomes of a longer one:
    ``error`` or ``right``, which keeps the turns that fit (see ``fit``); and ``max_pixels``, the most pixels of a
    picture, null for as it is stored.

    Raises ``SettingError`` when a setting is wrong and for a row that cannot be made to fit, ``OsvlError`` for a row
    that cannot be read.
    """

    def __init__(
        self, parquet_files: Any, tokenizer: Any, config: Any, processor: Any = None, max_samples: int = -1
    ) -> None:
        if config.get("pad_mode", "no_padding") != "no_padding":
            raise SettingError("data.pad_mode", f"must be no_padding, got {config.get('pad_mode')!r}")
        self.truncation = config.get("truncation", "error")
        if self.truncation not in ("error", "right"):
            raise SettingError("data.truncation", f"must be error or right, got {self.truncation!r}")
        self.max_length = int(config.get("max_length", 32_768))
        pixels = config.get("max_pixels", None)
        self.bounds = None if pixels is None else read(ImageSettings, {"max_pixels": pixels}, "data")
        self.rows = ParquetRows(parquet_files, ["messages", "images", "tools"])
        self.length = min(len(self.rows), max_samples) if max_samples > 0 else len(self.rows)
        self.tokenizer = tokenizer
        self.processor = processor
        self.cut_rows = 0
        """Rows that ``truncation: right`` has cut in this process."""
        self._chat: ChatTokens | None = None

    @property
    def chat(self) -> ChatTokens:
        """Made where it is used: it holds a lock, which no process can hand to another."""
        if self._chat is None:
            self._chat = ChatTokens(self.processor if self.processor is not None else self.tokenizer)
        return self._chat

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.rows[index]
        images = [self._picture(image, index) for image in row["images"] or ()]
        try:
            tools = json.loads(row["tools"]) if row["tools"] else None
            whole = conversation_pieces(self.chat, row["messages"], images, tools)
        except ValueError as error:
            raise OsvlError(f"row {index}: {error}") from error
        pieces = self._fitted(whole, index)
        images = images[: sum(piece.images for piece in pieces)]
        input_ids = torch.tensor([token for piece in pieces for token in piece.ids])
        item: dict[str, Any] = {"input_ids": input_ids, "loss_mask": torch.tensor(_mask(pieces))}
        vision = dict(self.processor.image_processor(images=images, return_tensors="pt")) if images else {}
        if self.processor is not None:
            # A batch may mix rows with and without pictures; verl takes their keys and axes from its first row.
            item["multi_modal_inputs"] = vision
        item["position_ids"] = self._positions(input_ids, vision.get("image_grid_thw"))
        return item

    def __getstate__(self) -> dict[str, Any]:
        state = {**self.__dict__, "_chat": None}
        if self.processor is not None:
            # verl binds functions of the model to its processor, and such an object cannot be unpickled.
            state["processor"] = copy.copy(self.processor)
            bound = {name: value for name, value in vars(self.processor).items() if isinstance(value, MethodType)}
            for name in bound:
                delattr(state["processor"], name)
            state["_bound"] = {name: value.__func__ for name, value in bound.items()}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        bound = state.pop("_bound", {})
        self.__dict__.update(state)
        for name, function in bound.items():
            setattr(self.processor, name, MethodType(function, self.processor))

    def _picture(self, stored: Any, index: int) -> Image.Image:
        if self.processor is None:
            raise OsvlError(
                f"row {index} has pictures, and the model's folder has no processor that transformers loads"
            )
        try:
            image = decode(stored, self.bounds or ImageSettings())
        except ToolError as error:
            raise OsvlError(f"row {index}: {error}") from error
        return image if self.bounds is None else bounded(image, self.bounds)

    def _fitted(self, pieces: list[Piece], index: int) -> list[Piece]:
        tokens = sum(len(piece.ids) for piece in pieces)
        if tokens <= self.max_length:
            return pieces
        if self.truncation == "error":
            raise SettingError("data.max_length", f"row {index} has {tokens} tokens, over {self.max_length}")
        kept = fit(pieces, self.max_length)
        if not kept:
            raise SettingError("data.max_length", f"row {index} has no turn within {self.max_length} tokens")
        self.cut_rows += 1
        if self.cut_rows & (self.cut_rows - 1) == 0:
            # Of every process the 1st, 2nd, 4th, 8th, …
            logger.warning(
                "data.truncation: row %d has %d tokens, over %d, and ends after %d of %d turns; %d rows cut so far",
                index, tokens, self.max_length, _turns(kept), _turns(pieces), self.cut_rows,
            )  # fmt: skip
        return kept

    def _positions(self, input_ids: torch.Tensor, image_grid_thw: torch.Tensor | None) -> torch.Tensor:
        text = torch.arange(len(input_ids))
        rope_index = getattr(self.processor, "get_rope_index", None)
        if rope_index is None:
            return text
        if image_grid_thw is None:
            return text.expand(4, -1).clone()
        ids = input_ids.unsqueeze(0)
        vision, _ = rope_index(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            image_grid_thw=image_grid_thw,
            video_grid_thw=None,
            mm_token_type_ids=(ids == self.processor.image_token_id).long(),
        )
        return torch.cat((text.unsqueeze(0), vision.squeeze(1)), dim=0)


class Piece(NamedTuple):
    """A part of a conversation that is tokenised by itself: the prompt, a turn or an observation."""

    ids: list[int]
    written: bool
    """Whether the assistant wrote it, so that it trains."""
    images: int
    """Pictures that it shows."""


def conversation_pieces(
    chat: ChatTokens,
    messages: Sequence[Message],
    images: Sequence[Image.Image],
    tools: list[dict[str, Any]] | None,
) -> list[Piece]:
    """The prompt, then turns and observations; ``<image>`` in a message stands for the next of ``images``.

    Observations have the role tool or user, as their wire profile says. Raises ``ValueError`` when they do not
    alternate with turns of the assistant, and when the messages show another number of pictures than there are.
    """
    first = next((i for i, message in enumerate(messages) if message["role"] == "assistant"), len(messages))
    parts = [{"role": message["role"], "content": marked_parts(message["content"])} for message in messages]
    shown = [_pictures(message) for message in parts]
    if sum(shown) != len(images):
        raise ValueError(f"the messages show {sum(shown)} pictures and the row has {len(images)}")
    start = sum(shown[:first])
    pieces = [Piece(chat.prompt(parts[:first], images[:start], tools), False, start)]
    for place in range(first, len(messages)):
        role = messages[place]["role"]
        if role not in (("tool", "user") if (place - first) % 2 else ("assistant",)):
            raise ValueError(f"message {place} has role {role!r}, out of turn")
        if role == "assistant":
            pieces.append(Piece(chat.turn(messages[place]["content"]), True, 0))
        else:
            end = start + shown[place]
            pieces.append(Piece(chat.observation(parts[place], images[start:end]), False, shown[place]))
            start = end
    return pieces


def fit(pieces: Sequence[Piece], tokens: int) -> list[Piece]:
    """The pieces up to ``tokens``, ending with what the assistant wrote; empty when none of that fits.

    A turn that does not fit is cut, and never a prompt or an observation, so that a picture stands there whole or not
    at all.
    """
    kept: list[Piece] = []
    for piece in pieces:
        if len(piece.ids) > tokens:
            if piece.written and tokens:
                kept.append(piece._replace(ids=piece.ids[:tokens]))
            break
        kept.append(piece)
        tokens -= len(piece.ids)
    while kept and not kept[-1].written:
        kept.pop()
    return kept


def _mask(pieces: Sequence[Piece]) -> list[int]:
    return [int(piece.written) for piece in pieces for _ in piece.ids]


def _turns(pieces: Sequence[Piece]) -> int:
    return sum(piece.written for piece in pieces)


def _pictures(message: Message) -> int:
    """How many pictures a message of another than the assistant shows; what the assistant writes is text alone."""
    return 0 if message["role"] == "assistant" else sum(part["type"] == "image" for part in message["content"])
