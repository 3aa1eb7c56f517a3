"""A stand-in for a generator whose turns depend on every token and every pixel that it reads."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from PIL import Image

from osvl_plugins.conversation import ChatTokens, Sampled


class DigestModel:
    """Says ``script`` turn by turn; each turn begins with a digest of the ids and the pictures that came before it.

    Two ways of asking give the same text only when they put the same tokens and pixels before the model.
    """

    max_context = 1_000_000

    def __init__(self, chat: ChatTokens, script: Sequence[str]) -> None:
        self._chat, self._script = chat, script

    def turn(self, token_ids: Sequence[int], images: Sequence[Image.Image]) -> Sampled:
        read = hashlib.sha256(repr(list(token_ids)).encode())
        for image in images:
            read.update(repr(image.size).encode() + image.tobytes())
        # A turn ends with the end-of-turn token, and so do the user's; the assistant's header tells them apart.
        asked = self._chat.tokenizer.decode(list(token_ids)).count("<|im_start|>assistant\n")
        ids = self._chat.turn(f"<think>{read.hexdigest()}</think>\n{self._script[asked - 1]}")
        return Sampled(ids, [-0.5] * len(ids))

    async def generate(self, request: Any, deadline_s: float) -> Sampled:
        """As ``BatchGenerator.generate``."""
        return self.turn(request.prompt_ids, request.images)
