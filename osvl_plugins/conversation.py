"""A conversation as token ids: what the policy sampled is what is trained.

``ChatTokens`` renders messages through the model's own chat template and processor; ``TokenPolicy`` grows one
sequence from a prompt, sampled turns and observations, and records which tokens were sampled, with their
log-probabilities. Sampled tokens are never decoded and tokenised again.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from PIL import Image

from osvl_plugins.errors import PolicyError
from osvl_plugins.protocol import IMAGE_MARK, inert
from osvl_plugins.threads import in_thread
from osvl_plugins.trajectory import Span

Message = dict[str, Any]
_PICTURE = re.compile(f"({IMAGE_MARK})")


class Sampled(NamedTuple):
    """One sampled turn: ids, and the log-probability of each under the policy (empty when not asked for)."""

    token_ids: list[int]
    log_probs: list[float]


class ChatTokens:
    """Messages to token ids for one model: a transformers processor, or a tokenizer for text-only models.

    Works with templates in which a turn ends with the end-of-sequence token and does not change what came before,
    as Qwen's do; ``observation`` raises ``ValueError`` for others.
    """

    def __init__(self, processor: Any) -> None:
        self.processor = processor
        self.tokenizer = getattr(processor, "tokenizer", processor)
        self.end_of_turn: int = self.tokenizer.eos_token_id
        # A fast tokenizer is not safe to share between threads.
        self._lock = threading.Lock()
        base = [text_message("user", "q"), text_message("assistant", "a")]
        self._base = base
        rendered = self._render(base, None, False)
        self._end_text: str = self.tokenizer.decode([self.end_of_turn])
        self._turn_end = rendered.rfind(self._end_text) + len(self._end_text)
        if self._turn_end < len(self._end_text):
            raise ValueError(f"the chat template does not end a turn with {self._end_text!r}")
        self._base_text = rendered[: self._turn_end]

    def prompt(
        self, messages: Sequence[Message], images: Sequence[Image.Image], tools: list[dict[str, Any]] | None
    ) -> list[int]:
        """Token ids of the prompt, up to where the policy writes its first turn."""
        return self._ids(self._render(list(messages), tools, True), images)

    def observation(self, message: Message, images: Sequence[Image.Image]) -> list[int]:
        """Token ids between the end of a turn and the start of the next: ``message``, whose image parts are ``images``.

        Special tokens in its text are inert: a page that contains "<|im_end|>" must not end the observation.
        """
        marks = self.tokenizer.all_special_tokens
        parts = [
            {**part, "text": inert(part["text"], marks)} if "text" in part else part for part in message["content"]
        ]
        rendered = self._render([*self._base, {**message, "content": parts}], None, True)
        if not rendered.startswith(self._base_text):
            raise ValueError(f"the chat template rewrites earlier turns when a {message['role']} message follows")
        return self._ids(rendered[self._turn_end :], images)

    def turn(self, text: str) -> list[int]:
        """Token ids of a turn as if the policy had sampled ``text`` and ended the turn (for SFT)."""
        return [*self._ids(text, ()), self.end_of_turn]

    def text(self, token_ids: Sequence[int]) -> str:
        """What the policy wrote, without the end of the turn."""
        ids = list(token_ids)
        if ids and ids[-1] == self.end_of_turn:
            ids.pop()
        return str(self.tokenizer.decode(ids, skip_special_tokens=False))

    def _render(self, messages: list[Message], tools: list[dict[str, Any]] | None, generate: bool) -> str:
        rendered: str = self.processor.apply_chat_template(
            messages, tools=tools, add_generation_prompt=generate, tokenize=False
        )
        return rendered

    def _ids(self, text: str, images: Sequence[Image.Image]) -> list[int]:
        with self._lock:
            if not images:
                ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
                return ids
            encoded = self.processor(text=[text], images=list(images), add_special_tokens=False)
            return [int(token) for token in encoded["input_ids"][0]]


def text_message(role: str, text: str) -> Message:
    """A message of words alone."""
    return {"role": role, "content": [{"type": "text", "text": text}]}


def marked_parts(content: str) -> list[dict[str, Any]]:
    """The parts of ``content``, each ``<image>`` of which stands for a picture."""
    return [
        {"type": "image"} if piece == IMAGE_MARK else {"type": "text", "text": piece}
        for piece in _PICTURE.split(content)
        if piece
    ]


def text_of(message: Message) -> str:
    """The words of a message."""
    return "".join(part.get("text", "") for part in message["content"])


Sampler = Callable[[list[int], list[Image.Image], int], Awaitable[Sampled]]
"""(ids so far, pictures so far, most new tokens) to the next turn; raises ``PolicyError``."""


@dataclass
class TokenPolicy:
    """The policy of one episode as one growing token sequence."""

    chat: ChatTokens
    sample: Sampler
    max_response: int
    """Most tokens after the prompt."""
    max_turn: int
    """Most tokens of one sampled turn."""
    max_prompt: int | None = None
    """Most tokens of the prompt."""
    prompt_ids: list[int] = field(default_factory=list)
    response_ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    """One for each response id; 0 for tokens that were not sampled."""
    images: list[Image.Image] = field(default_factory=list)

    async def start(
        self, messages: Sequence[Message], images: Sequence[Image.Image], tools: list[dict[str, Any]] | None
    ) -> None:
        """Set the prompt. ``images`` are what the model sees.

        Raises ``ValueError`` when it is longer than ``max_prompt``.
        """
        prompt_ids = await in_thread(self.chat.prompt, messages, images, tools)
        if self.max_prompt is not None and len(prompt_ids) > self.max_prompt:
            raise ValueError(f"the prompt has {len(prompt_ids)} tokens, over {self.max_prompt}")
        self.images = list(images)
        self.prompt_ids = prompt_ids

    async def act(self) -> tuple[str, Span | None]:
        """Sample a turn: its text and where its tokens lie.

        Raises ``PolicyError`` when the sampler gave nothing.
        """
        start = len(self.response_ids)
        room = min(self.max_turn, self.max_response - start)
        sampled = await self.sample(self.prompt_ids + self.response_ids, self.images, room)
        if not sampled.token_ids:
            raise PolicyError("the rollout server gave an empty turn")
        ids, log_probs = sampled.token_ids[:room], sampled.log_probs[:room]
        self.response_ids += ids
        self.log_probs += log_probs if log_probs else [0.0] * len(ids)
        return self.chat.text(ids), Span(start, len(self.response_ids))

    async def observe(self, message: Message, images: Sequence[Image.Image]) -> bool:
        """Append an observation. False, with nothing appended, when no room is left for it and another turn."""
        ids = await in_thread(self.chat.observation, message, images)
        if self.response_ids[-1] != self.chat.end_of_turn:
            ids = [self.chat.end_of_turn, *ids]
        if len(self.response_ids) + len(ids) >= self.max_response:
            return False
        self.response_ids += ids
        self.log_probs += [0.0] * len(ids)
        self.images += images
        return True
