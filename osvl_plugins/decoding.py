"""Sampling a batch of sequences from a transformers model, token ids in and token ids out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

from osvl_plugins.conversation import Sampled
from osvl_plugins.pixels import Pixels
from osvl_plugins.sampling import Sampling, TokenChooser


@dataclass(frozen=True)
class Row:
    """One sequence of a batch. ``stops`` end it; once ``abandoned`` is true nobody waits for it any more."""

    prompt_ids: Sequence[int]
    pixels: Sequence[Pixels]
    sampling: Sampling
    stops: frozenset[int]
    abandoned: Callable[[], bool]


class Decoder:
    """A model, with what it must not sample.

    ``never`` are ids that no row samples unless they are among its stops; ``image_id`` is the id of a picture's
    placeholder, None for a text model.
    """

    def __init__(self, model: Any, never: Sequence[int], pad_id: int, image_id: int | None) -> None:
        self.model = model
        self.device = next(model.parameters()).device
        self._pad_id = pad_id
        self._image_id = image_id
        vocabulary = int(model.get_output_embeddings().weight.shape[0])
        self._never = torch.zeros(vocabulary, dtype=torch.bool)
        self._never[[token for token in never if token < vocabulary]] = True

    @torch.inference_mode()
    def __call__(self, rows: Sequence[Row]) -> list[Sampled]:
        """Sample every row until its stop, its limit, or nobody waits for it.

        Rows that are done leave the batch as soon as that halves it. Raises what the model raises.
        """
        longest = max(len(row.prompt_ids) for row in rows)
        room = max(row.sampling.max_new_tokens for row in rows)
        ids, mask = self._left_padded(rows, longest, room)
        pictures = self._pictures(rows, ids)
        positions, position = self._positions(ids, mask[:, :longest], pictures)
        cache = self._cache(longest + room)
        choose = TokenChooser([row.sampling for row in rows], self._forbidden(rows))

        sampled = [Sampled([], []) for _ in rows]
        slots = list(range(len(rows)))  # the row that each slot of the shrinking batch serves
        running = [True] * len(rows)
        inputs: dict[str, Any] = {"input_ids": ids, "position_ids": positions, **pictures}
        for step in range(room):
            logits = self.model(
                **inputs,
                attention_mask=mask[:, : longest + step],
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
            tokens, log_probs = choose(logits)
            for slot, (token, log_prob) in enumerate(zip(tokens.tolist(), log_probs.tolist(), strict=True)):
                if not running[slot]:
                    continue
                row, result = rows[slots[slot]], sampled[slots[slot]]
                result.token_ids.append(token)
                result.log_probs.append(log_prob)
                limit = row.sampling.max_new_tokens
                running[slot] = token not in row.stops and step + 1 < limit and not row.abandoned()
            left = [slot for slot, goes_on in enumerate(running) if goes_on]
            if not left:
                break
            if 2 * len(left) <= len(running):
                keep = torch.tensor(left, device=self.device)
                cache.batch_select_indices(keep)
                choose.keep(keep)
                tokens, mask, position = tokens[keep], mask[keep], position[:, keep]
                slots, running = [slots[slot] for slot in left], [True] * len(left)
            inputs = {"input_ids": tokens.unsqueeze(1), "position_ids": self._shaped(position)}
            position = position + 1
        return sampled

    def _left_padded(self, rows: Sequence[Row], longest: int, room: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(rows, longest) ids and the (rows, longest + room) attention mask of prompt and turn."""
        ids = torch.full((len(rows), longest), self._pad_id, dtype=torch.long)
        mask = torch.zeros(len(rows), longest + room, dtype=torch.long)
        for index, row in enumerate(rows):
            start = longest - len(row.prompt_ids)
            ids[index, start:] = torch.tensor(row.prompt_ids)
            mask[index, start:] = 1
        return ids.to(self.device), mask.to(self.device)

    def _pictures(self, rows: Sequence[Row], ids: torch.Tensor) -> dict[str, torch.Tensor]:
        pixels = [one for row in rows for one in row.pixels]
        image_id = self._image_id
        if not pixels or image_id is None:
            return {}
        return {
            "pixel_values": torch.cat([one.values for one in pixels]).to(self.device),
            "image_grid_thw": torch.stack([one.grid for one in pixels]).to(self.device),
            "mm_token_type_ids": torch.eq(ids, image_id).int(),
        }

    def _positions(
        self, ids: torch.Tensor, mask: torch.Tensor, pictures: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions of the prompt, as the model takes them, and the (axes, rows) ones of the first sampled token."""
        plain = (mask.cumsum(dim=-1) - 1).clamp_min(0)
        rope_index = getattr(self.model.base_model, "get_rope_index", None)
        if rope_index is None:
            return plain, plain[:, -1].unsqueeze(0) + 1
        following = plain[:, -1].expand(3, -1) + 1
        if not pictures:
            return plain.expand(3, -1, -1), following
        positions, delta = rope_index(
            ids,
            mm_token_type_ids=pictures["mm_token_type_ids"],
            image_grid_thw=pictures["image_grid_thw"],
            attention_mask=mask,
        )
        return positions, following + delta.squeeze(1)

    @staticmethod
    def _shaped(position: torch.Tensor) -> torch.Tensor:
        """(axes, rows) to one step's (rows, 1), or (3, rows, 1) for rotary positions in three axes."""
        return position.unsqueeze(-1) if position.shape[0] == 3 else position[0].unsqueeze(-1)

    def _forbidden(self, rows: Sequence[Row]) -> torch.Tensor:
        forbidden = self._never.repeat(len(rows), 1)
        for index, row in enumerate(rows):
            forbidden[index, list(row.stops)] = False
        return forbidden.to(self.device)

    def _cache(self, length: int) -> DynamicCache:
        cache = DynamicCache(config=self.model.config.get_text_config())
        cache.layers = [_Reserved(length) if type(layer) is DynamicLayer else layer for layer in cache.layers]
        return cache


class _Reserved(DynamicLayer):  # type: ignore[misc]
    """A cache layer with the turn's memory taken at once: growing by concatenation copies it at every token."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self._length = length
        self._used = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        super().lazy_initialization(key_states, value_states)
        rows, heads = key_states.shape[:2]
        self._keys = key_states.new_empty(rows, heads, self._length, key_states.shape[-1])
        self._values = value_states.new_empty(rows, heads, self._length, value_states.shape[-1])

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self._used + key_states.shape[-2]
        self._keys[:, :, self._used : end] = key_states
        self._values[:, :, self._used : end] = value_states
        self._used = end
        return self._expose()

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        self._keys, self._values = self._keys[indices], self._values[indices]
        self._expose()

    def _expose(self) -> tuple[torch.Tensor, torch.Tensor]:
        self.keys, self.values = self._keys[:, :, : self._used], self._values[:, :, : self._used]
        return self.keys, self.values
