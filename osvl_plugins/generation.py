"""A transformers model as a policy server: single requests in, batches on the model, single turns out.

One worker thread owns the model. It gathers what asks at about the same time, since a batch of 64 costs a small
model little more than one row. Weights are replaced between batches, never within one.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from PIL import Image

from osvl_plugins.conversation import Sampled
from osvl_plugins.decoding import Decoder, Row
from osvl_plugins.errors import PolicyError, SettingError
from osvl_plugins.pixels import PixelCache
from osvl_plugins.sampling import Sampling

logger = logging.getLogger(__name__)

__all__ = ["BatchGenerator", "GenerationStats", "Request", "Sampling"]

_CLOSED = "the generator is closed"


@dataclass(frozen=True)
class Request:
    """One turn to sample: the ids so far with every picture's placeholders, and the pictures in their order."""

    prompt_ids: Sequence[int]
    images: Sequence[Image.Image] = ()
    sampling: Sampling = field(default_factory=Sampling)


@dataclass(frozen=True)
class GenerationStats:
    """Work done so far; ``seconds`` is time on the model, without waiting."""

    batches: int = 0
    rows: int = 0
    tokens: int = 0
    seconds: float = 0.0


@dataclass(eq=False)
class _Job:
    request: Request
    future: Future[Sampled] = field(default_factory=Future)
    abandoned: bool = False


class BatchGenerator:
    """Samples turns in batches of at most ``max_batch`` rows and ``max_batch_tokens`` padded prompt and turn tokens.

    ``model`` is a transformers model that stands on its device: a causal language model, or a vision-language model
    of the Qwen-VL family. ``processor`` is its processor, or its tokenizer for text alone. A batch starts once
    ``gather_s`` seconds pass without a new request. At most ``max_waiting`` requests wait; more are refused. No row
    samples a special token other than its stops, or an id that the tokenizer does not know. Prompt and turn share
    ``max_context`` tokens (the model's own limit when None).
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        *,
        max_batch: int = 64,
        gather_s: float = 0.03,
        max_batch_tokens: int = 262_144,
        max_waiting: int = 8192,
        max_context: int | None = None,
    ) -> None:
        tokenizer = getattr(processor, "tokenizer", processor)
        image_processor = getattr(processor, "image_processor", None)
        limit = int(model.config.get_text_config().max_position_embeddings)
        self.max_context = min(max_context or limit, limit)
        if min(max_batch, max_batch_tokens, max_waiting, self.max_context) < 1 or gather_s < 0:
            raise SettingError("generation", "max_batch, max_batch_tokens, max_waiting and max_context must be over 0")
        self._max_batch = max_batch
        self._max_batch_tokens = max_batch_tokens
        self._gather_s = gather_s
        self._vocabulary = len(tokenizer)
        self._stops = frozenset({tokenizer.eos_token_id})
        self._pixels = PixelCache(image_processor) if image_processor is not None else None
        self._image_id = getattr(model.config, "image_token_id", None)
        pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        rows_of_head = int(model.get_output_embeddings().weight.shape[0])
        never = {*tokenizer.all_special_ids, *range(self._vocabulary, rows_of_head)}
        self._model = model.eval()
        self._decoder = Decoder(self._model, sorted(never), pad_id, self._image_id)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._queue: queue.Queue[_Job | None] = queue.Queue(max_waiting)
        self.stats = GenerationStats()
        self._worker = threading.Thread(target=self._work, name="osvl-generation", daemon=True)
        self._worker.start()

    async def generate(self, request: Request, deadline_s: float) -> Sampled:
        """The sampled ids, with the stop that ended them if one did, and their log-probabilities.

        ``max_new_tokens`` is cut to what the context leaves. Raises ``PolicyError`` when the prompt does not fit the
        context or its pictures, when the model fails, and when ``deadline_s`` seconds pass.
        """
        if self._closing.is_set():
            raise PolicyError(_CLOSED)
        job = _Job(self._bounded(request))
        try:
            self._queue.put_nowait(job)
        except queue.Full:
            raise PolicyError(f"{self._queue.maxsize} requests are waiting already; raise max_waiting") from None
        if self._closing.is_set():
            self._refuse_waiting()  # close() may have emptied the queue just before this job came in
        try:
            return await asyncio.wait_for(asyncio.wrap_future(job.future), deadline_s)
        except asyncio.TimeoutError:
            raise PolicyError(f"no turn within {deadline_s:g} s; raise the deadline or lower the load") from None
        finally:
            job.abandoned = True

    def load_state_dict(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Copy ``weights`` into the model between two batches; waits for the batch that is running.

        Raises ``PolicyError`` when a name is unknown, a shape differs, or a weight that is not tied to another one
        is missing.
        """
        with self._lock:
            try:
                result = self._model.load_state_dict(weights, strict=False)
            except RuntimeError as error:
                raise PolicyError(f"the new weights do not fit the model: {error}") from error
            own = self._model.state_dict(keep_vars=True)
            given = {own[name].data_ptr() for name in weights if name in own}
            missing = [name for name in result.missing_keys if own[name].data_ptr() not in given]
        if result.unexpected_keys or missing:
            raise PolicyError(
                f"the new weights do not fit the model: {len(result.unexpected_keys)} unknown "
                f"{result.unexpected_keys[:3]}, {len(missing)} missing {missing[:3]}"
            )

    def close(self, timeout_s: float = 30.0) -> None:
        """End the worker after at most one more token; requests that wait get ``PolicyError``."""
        self._closing.set()
        self._refuse_waiting()
        self._queue.put(None)
        self._worker.join(timeout_s)

    def _bounded(self, request: Request) -> Request:
        length = len(request.prompt_ids)
        room = self.max_context - length
        if not length or room < 1:
            raise PolicyError(
                f"a prompt of {length} tokens leaves no room in a context of {self.max_context}; "
                "shorten the prompt or stop the episode earlier"
            )
        outside = [token for token in request.sampling.stop_ids if not 0 <= token < self._vocabulary]
        if outside:
            raise PolicyError(f"stop ids {outside[:3]} are not in the vocabulary of {self._vocabulary}")
        sampling = request.sampling
        if sampling.max_new_tokens <= room:
            return request
        return replace(request, sampling=replace(sampling, max_new_tokens=room))

    def _work(self) -> None:
        while not self._closing.is_set():
            jobs = [job for job in self._gather() if job.future.set_running_or_notify_cancel()]
            ready = [(job, row) for job in jobs if (row := self._row(job)) is not None]
            for batch in self._batches(ready):
                self._run(batch)
        self._refuse_waiting()

    def _gather(self) -> list[_Job]:
        job = self._queue.get()
        jobs: list[_Job] = []
        while job is not None:
            jobs.append(job)
            if len(jobs) == self._max_batch:
                break
            try:
                job = self._queue.get(timeout=self._gather_s)
            except queue.Empty:
                break
        return jobs

    def _row(self, job: _Job) -> Row | None:
        request = job.request
        try:
            if request.images and self._pixels is None:
                raise PolicyError("this model takes no pictures")
            pixels = self._pixels(request.images) if self._pixels is not None else []
            held = sum(token == self._image_id for token in request.prompt_ids)
            needed = sum(one.patches for one in pixels) // self._pixels.patches_per_token if self._pixels else 0
            if held != needed:
                raise PolicyError(
                    f"the prompt holds {held} placeholders for {len(pixels)} pictures that need {needed}; "
                    "render it with the model's own processor"
                )
        except Exception as error:
            # Whatever is wrong with one request must neither reach its neighbours nor end the worker.
            known = error if isinstance(error, PolicyError) else PolicyError(f"the request cannot be read: {error!r}")
            job.future.set_exception(known)
            return None
        stops = self._stops | frozenset(request.sampling.stop_ids)
        return Row(request.prompt_ids, pixels, request.sampling, stops, lambda: job.abandoned or self._closing.is_set())

    def _batches(self, ready: list[tuple[_Job, Row]]) -> list[list[tuple[_Job, Row]]]:
        """Neighbours in length together, each batch within the token bound; a row over it stays alone."""
        batches: list[list[tuple[_Job, Row]]] = []
        width = room = 0
        for job, row in sorted(ready, key=lambda pair: len(pair[1].prompt_ids), reverse=True):
            width, room = max(width, len(row.prompt_ids)), max(room, row.sampling.max_new_tokens)
            if not batches or (len(batches[-1]) + 1) * (width + room) > self._max_batch_tokens:
                batches.append([])
                width, room = len(row.prompt_ids), row.sampling.max_new_tokens
            batches[-1].append((job, row))
        return batches

    def _run(self, batch: list[tuple[_Job, Row]]) -> None:
        start = time.perf_counter()
        try:
            with self._lock:
                results = self._decoder([row for _, row in batch])
        except Exception as error:
            logger.exception("a batch of %d rows failed", len(batch))
            for job, _ in batch:
                job.future.set_exception(PolicyError(f"the model failed: {type(error).__name__}: {error}"))
            return
        for (job, _), result in zip(batch, results, strict=True):
            if self._closing.is_set():
                job.future.set_exception(PolicyError(_CLOSED))
            else:
                job.future.set_result(result)
        done = self.stats
        self.stats = GenerationStats(
            done.batches + 1,
            done.rows + len(batch),
            done.tokens + sum(len(result.token_ids) for result in results),
            done.seconds + time.perf_counter() - start,
        )

    def _refuse_waiting(self) -> None:
        wake = False
        while True:
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                break
            if job is None:
                wake = True
            elif job.future.set_running_or_notify_cancel():
                job.future.set_exception(PolicyError(_CLOSED))
        if wake and self._worker.is_alive():
            self._queue.put(None)  # it is the worker's, which may not have seen it yet
