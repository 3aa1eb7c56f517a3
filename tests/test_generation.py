from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from osvl_plugins.errors import PolicyError, SettingError  # noqa: E402
from osvl_plugins.generation import BatchGenerator, Request, Sampling  # noqa: E402
from tests.tiny import Tiny, load_tiny, prompt  # noqa: E402

DEADLINE_S = 60.0
GREEDY = Sampling(temperature=0, max_new_tokens=12)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return load_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def generator(tiny: Tiny) -> Iterator[BatchGenerator]:
    generator = BatchGenerator(tiny.model, tiny.processor)
    yield generator
    generator.close()


def run(generator: BatchGenerator, *requests: Request, deadline_s: float = DEADLINE_S) -> list:
    async def together() -> list:
        return await asyncio.gather(
            *(generator.generate(request, deadline_s) for request in requests), return_exceptions=True
        )

    return asyncio.run(together())


def requests(tiny: Tiny, sampling: Sampling = GREEDY, pictures: tuple[int, ...] = (0, 1, 3, 2, 0, 1)) -> list[Request]:
    return [Request(*prompt(tiny, count, seed), sampling) for seed, count in enumerate(pictures)]


def actor_log_probs(tiny: Tiny, request: Request, token_ids: list[int]) -> torch.Tensor:
    """Log-probabilities of ``token_ids`` by one forward pass over prompt and turn."""
    ids = torch.tensor([[*request.prompt_ids, *token_ids]])
    pictures = {}
    if request.images:
        pictures = dict(tiny.processor.image_processor(images=list(request.images), return_tensors="pt"))
        pictures["mm_token_type_ids"] = (ids == tiny.model.config.image_token_id).int()
    with torch.no_grad():
        logits = tiny.model(input_ids=ids, attention_mask=torch.ones_like(ids), **pictures).logits[0]
    scaled = logits[len(request.prompt_ids) - 1 : -1] / (request.sampling.temperature or 1.0)
    return torch.log_softmax(scaled, -1).gather(1, torch.tensor(token_ids)[:, None]).squeeze(1)


def test_a_batch_gives_what_each_row_gives_alone(tiny: Tiny, generator: BatchGenerator) -> None:
    batch = requests(tiny)
    together = run(generator, *batch)
    assert generator.stats.batches == 1
    assert [turn.token_ids for turn in together] == [run(generator, one)[0].token_ids for one in batch]


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_log_probs_are_those_of_a_forward_pass_over_the_whole_sequence(
    tiny: Tiny, generator: BatchGenerator, temperature: float
) -> None:
    batch = requests(tiny, Sampling(temperature=temperature, top_p=0.9, top_k=40, max_new_tokens=12))
    for request, turn in zip(batch, run(generator, *batch), strict=True):
        torch.testing.assert_close(
            torch.tensor(turn.log_probs), actor_log_probs(tiny, request, turn.token_ids), atol=2e-5, rtol=1e-4
        )


def test_rows_that_end_early_do_not_disturb_the_others(tiny: Tiny, generator: BatchGenerator) -> None:
    batch = requests(tiny)
    whole = [turn.token_ids for turn in run(generator, *batch)]
    limits = [1, 2, 12, 3, 1, 12]
    short = [
        Request(one.prompt_ids, one.images, Sampling(temperature=0, max_new_tokens=limit))
        for one, limit in zip(batch, limits, strict=True)
    ]
    assert [turn.token_ids for turn in run(generator, *short)] == [
        ids[:limit] for ids, limit in zip(whole, limits, strict=True)
    ]


def test_a_turn_ends_with_its_stop(tiny: Tiny, generator: BatchGenerator) -> None:
    request = requests(tiny)[0]
    whole = run(generator, request)[0].token_ids
    stop = next(token for token in whole[1:] if token != whole[0])
    stopped = Request(request.prompt_ids, (), Sampling(temperature=0, max_new_tokens=12, stop_ids=(stop,)))
    assert run(generator, stopped)[0].token_ids == whole[: whole.index(stop) + 1]


def test_special_tokens_other_than_stops_are_never_sampled(tiny: Tiny, generator: BatchGenerator) -> None:
    tokenizer = tiny.processor.tokenizer
    flat = Sampling(temperature=100.0, max_new_tokens=100)
    sampled = {token for turn in run(generator, *requests(tiny, flat)) for token in turn.token_ids}
    assert not sampled & (set(tokenizer.all_special_ids) - {tokenizer.eos_token_id})
    assert max(sampled) < len(tokenizer)


def test_a_special_token_can_be_made_a_stop(tiny: Tiny, generator: BatchGenerator) -> None:
    tokenizer = tiny.processor.tokenizer
    stop = tokenizer.convert_tokens_to_ids("<|vision_end|>")
    flat = Sampling(temperature=100.0, max_new_tokens=400, stop_ids=(stop,))
    turns = run(generator, *(Request(*prompt(tiny, 0, seed), flat) for seed in range(32)))
    assert any(turn.token_ids[-1] == stop for turn in turns)


def test_a_seeded_row_does_not_depend_on_its_batch(tiny: Tiny, generator: BatchGenerator) -> None:
    seeded = Request(*prompt(tiny, 1), Sampling(max_new_tokens=12, seed=7))
    others = requests(tiny, Sampling(max_new_tokens=12))
    assert run(generator, *others, seeded)[-1].token_ids == run(generator, seeded)[0].token_ids


def test_top_k_of_one_is_greedy(tiny: Tiny, generator: BatchGenerator) -> None:
    prompts = requests(tiny)
    top = [Request(one.prompt_ids, one.images, Sampling(top_k=1, max_new_tokens=12)) for one in prompts]
    assert [turn.token_ids for turn in run(generator, *top)] == [turn.token_ids for turn in run(generator, *prompts)]


def test_a_tiny_top_p_is_greedy(tiny: Tiny, generator: BatchGenerator) -> None:
    prompts = requests(tiny)
    top = [Request(one.prompt_ids, one.images, Sampling(top_p=1e-6, max_new_tokens=12)) for one in prompts]
    assert [turn.token_ids for turn in run(generator, *top)] == [turn.token_ids for turn in run(generator, *prompts)]


def test_sampling_follows_the_models_distribution(tiny: Tiny) -> None:
    generator = BatchGenerator(tiny.model, tiny.processor, max_batch=512)
    ids, images = prompt(tiny, 0)
    draws = run(generator, *[Request(ids, images, Sampling(temperature=0.3, max_new_tokens=1))] * 512)
    generator.close()
    expected: dict[int, float] = {}
    for turn in draws:
        expected[turn.token_ids[0]] = float(torch.tensor(turn.log_probs[0]).exp())
    likeliest = max(expected, key=lambda token: expected[token])
    share = sum(turn.token_ids[0] == likeliest for turn in draws) / len(draws)
    sigma = (expected[likeliest] * (1 - expected[likeliest]) / len(draws)) ** 0.5
    assert abs(share - expected[likeliest]) < 5 * sigma + 1e-9


def test_requests_that_come_together_are_one_batch(tiny: Tiny, generator: BatchGenerator) -> None:
    run(generator, *requests(tiny, pictures=(0,) * 20))
    assert (generator.stats.batches, generator.stats.rows) == (1, 20)


def test_a_batch_holds_at_most_max_batch_rows(tiny: Tiny) -> None:
    generator = BatchGenerator(tiny.model, tiny.processor, max_batch=8)
    run(generator, *requests(tiny, pictures=(0,) * 20))
    generator.close()
    assert (generator.stats.batches, generator.stats.rows) == (3, 20)


def test_long_batches_are_split_by_tokens(tiny: Tiny) -> None:
    generator = BatchGenerator(tiny.model, tiny.processor, max_batch_tokens=100)
    batch = requests(tiny)
    turns = run(generator, *batch)
    generator.close()
    assert generator.stats.batches > 1
    assert all(len(turn.token_ids) == len(turn.log_probs) for turn in turns)


def test_a_prompt_that_fills_the_context_is_refused(tiny: Tiny) -> None:
    generator = BatchGenerator(tiny.model, tiny.processor, max_context=10)
    ids, _ = prompt(tiny, 0)
    with pytest.raises(PolicyError, match="no room in a context of 10"):
        raise run(generator, Request((ids * 3)[:10], (), GREEDY))[0]
    generator.close()


def test_a_turn_ends_where_the_context_does(tiny: Tiny) -> None:
    ids, _ = prompt(tiny, 0)
    generator = BatchGenerator(tiny.model, tiny.processor, max_context=len(ids) + 3)
    assert len(run(generator, Request(ids, (), GREEDY))[0].token_ids) == 3
    generator.close()


def test_pictures_without_placeholders_fail_alone(tiny: Tiny, generator: BatchGenerator) -> None:
    good, bad = Request(*prompt(tiny, 1), GREEDY), Request(prompt(tiny, 1)[0], (), GREEDY)
    turn, error = run(generator, good, bad)
    assert turn.token_ids == run(generator, good)[0].token_ids
    assert isinstance(error, PolicyError)
    assert "placeholders" in str(error)


def test_a_failing_model_is_reported_and_the_next_request_is_served(
    tiny: Tiny, generator: BatchGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request(*prompt(tiny, 0), GREEDY)
    with monkeypatch.context() as patch:
        patch.setattr(generator._decoder, "model", None)
        error = run(generator, request)[0]
    assert isinstance(error, PolicyError)
    assert "the model failed" in str(error)
    assert run(generator, request)[0].token_ids


def test_a_deadline_that_passes_is_a_policy_error(tiny: Tiny, generator: BatchGenerator) -> None:
    error = run(generator, Request(*prompt(tiny, 0), Sampling(max_new_tokens=400)), deadline_s=0.001)[0]
    assert isinstance(error, PolicyError)
    assert "no turn within 0.001 s" in str(error)


def test_closing_answers_everyone(tiny: Tiny) -> None:
    generator = BatchGenerator(tiny.model, tiny.processor)

    async def close_while_waiting() -> list:
        waiting = [
            asyncio.ensure_future(generator.generate(Request(*prompt(tiny, 0, seed), GREEDY), DEADLINE_S))
            for seed in range(4)
        ]
        await asyncio.sleep(0)
        await asyncio.to_thread(generator.close)
        return await asyncio.gather(*waiting, return_exceptions=True)

    results = asyncio.run(close_while_waiting())
    assert all(isinstance(result, PolicyError) and "closed" in str(result) for result in results)
    with pytest.raises(PolicyError, match="closed"):
        raise run(generator, Request(*prompt(tiny, 0), GREEDY))[0]


def test_new_weights_are_used(tiny: Tiny, tmp_path: Path) -> None:
    own = load_tiny(tmp_path)
    generator = BatchGenerator(own.model, own.processor)
    request = Request(*prompt(own, 1), Sampling(max_new_tokens=1, temperature=0))
    before = run(generator, request)[0]
    changed = {name: value + 0.1 * torch.randn_like(value) for name, value in own.model.state_dict().items()}
    generator.load_state_dict(changed)
    after = run(generator, request)[0]
    generator.close()
    assert after.log_probs != before.log_probs


def test_tied_weights_may_be_left_out_and_others_not(tiny: Tiny, generator: BatchGenerator) -> None:
    weights = dict(tiny.model.state_dict())
    del weights["lm_head.weight"]
    generator.load_state_dict(weights)
    with pytest.raises(PolicyError, match="1 unknown"):
        generator.load_state_dict({**weights, "nothing": torch.zeros(1)})
    weights.popitem()
    with pytest.raises(PolicyError, match="1 missing"):
        generator.load_state_dict(weights)


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.5}, {"top_k": -1}, {"max_new_tokens": 0}]
)
def test_sampling_settings_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingError, match=rf"sampling\.{next(iter(wrong))}"):
        Sampling(**wrong)
