"""The tools in verl's stock loop: read from the yaml by verl, called by ``ToolAgentLoop`` itself."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_module
from PIL import Image
from verl.experimental.agent_loop.agent_loop import DictConfigWrap, ToolListWrap
from verl.experimental.agent_loop.tool_agent_loop import AgentData, AgentState, ToolAgentLoop
from verl.experimental.agent_loop.tool_parser import FunctionCall
from verl.tools.schemas import ToolResponse
from verl.tools.tool_registry import initialize_tools_from_config
from verl.utils.import_utils import resolve_config_path

from osvl_plugins.agent import AgentSettings, build_tools
from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.errors import SettingError
from osvl_plugins.protocol import format_call
from osvl_plugins.recipes import path as recipe_path
from osvl_plugins.verl.base_tool import OsvlTool
from tests.tiny import Tiny, load_tiny

YAML = Path(str(files("osvl_plugins.recipes.osvl") / "tools.yaml"))
BOX = {"image": "img_1", "x": 0, "y": 0, "width": 40, "height": 30}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return load_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tools(atlas: Corpus, monkeypatch: pytest.MonkeyPatch) -> list[OsvlTool]:
    monkeypatch.setenv("OSVL_HOME", str(atlas.folder.parent))
    return initialize_tools_from_config(str(YAML))


def stock_loop(tiny: Tiny, tools: list[OsvlTool]) -> ToolAgentLoop:
    overrides = ["max_parallel_calls=2", "max_tool_response_length=4000", f"tool_config_path={YAML}"]
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("ppo_trainer", [f"actor_rollout_ref.rollout.multi_turn.{value}" for value in overrides])
    return ToolAgentLoop(
        trainer_config=DictConfigWrap(config),
        server_manager=None,
        tokenizer=tiny.processor.tokenizer,
        processor=tiny.processor,
        dataset_cls=None,
        data_config=DictConfigWrap(config.data),
        hf_model_type="qwen3_vl",
        tools=ToolListWrap(tools),
    )


def episode(*images: Image.Image) -> AgentData:
    return AgentData(
        messages=[],
        image_data=list(images),
        video_data=[],
        audio_data=None,
        mm_processor_kwargs=None,
        metrics={},
        request_id="r",
        tools_kwargs={},
    )


async def call(loop: ToolAgentLoop, data: AgentData, name: str, arguments: Any) -> tuple[ToolResponse, float, dict]:
    return await loop._call_tool(FunctionCall(name=name, arguments=json.dumps(arguments)), {}, data)


def test_the_yaml_has_every_tool_with_the_schema_that_our_own_loop_gives(tools: list[OsvlTool], atlas: Corpus) -> None:
    ours = build_tools(AgentSettings(corpus=str(atlas.folder))).schemas
    assert [tool.tool_schema.model_dump(exclude_unset=True, exclude_none=True) for tool in tools] == ours


def test_all_tools_of_a_process_share_one_set(tools: list[OsvlTool]) -> None:
    assert len({id(tool.tools) for tool in tools}) == 1


async def test_a_new_picture_comes_back_and_is_named_in_the_text(tiny: Tiny, tools: list[OsvlTool]) -> None:
    loop = stock_loop(tiny, tools)
    response, reward, metrics = await call(loop, episode(Image.new("RGB", (64, 64))), "crop", BOX)
    assert response.text == "img_2 (40x30)"
    assert response.image is not None
    assert [image.size for image in response.image] == [(40, 30)]
    assert reward == 0.0
    assert metrics["error_kind"] is None
    assert metrics["backend"] == "pillow"


async def test_pictures_stay_known_from_call_to_call_and_from_tool_to_tool(tiny: Tiny, tools: list[OsvlTool]) -> None:
    loop, data = stock_loop(tiny, tools), episode(Image.new("RGB", (64, 64)), Image.new("RGB", (80, 80)))
    await call(loop, data, "crop", BOX | {"image": "img_2"})
    response, _, _ = await call(loop, data, "sharpen", {"image": "img_3"})
    assert str(response.text).startswith("img_4 (40x30)")


async def test_episodes_do_not_see_each_others_pictures(tiny: Tiny, tools: list[OsvlTool]) -> None:
    loop = stock_loop(tiny, tools)
    first, second = episode(Image.new("RGB", (64, 64))), episode(Image.new("RGB", (64, 64)))
    await call(loop, first, "crop", BOX)
    _, _, metrics = await call(loop, second, "crop", BOX | {"image": "img_2"})
    assert metrics["error_kind"] == "bad_arguments"


async def test_an_episodes_pictures_go_with_it(tiny: Tiny, tools: list[OsvlTool]) -> None:
    loop, picture = stock_loop(tiny, tools), Image.new("RGB", (64, 64))
    data = episode(picture)
    response, _, _ = await call(loop, data, "crop", BOX)
    assert response.image is not None
    gone = weakref.ref(response.image[0])
    del data, response
    await asyncio.sleep(0)  # or the event loop itself still holds the result that it woke this test with
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    ("name", "arguments", "kind"),
    [
        ("crop", {}, "bad_arguments"),
        ("crop", BOX | {"x": 60}, "bad_arguments"),
        ("crop", [], "bad_arguments"),
        ("visit", {"url": "x://y"}, "not_found"),
    ],
)
async def test_a_call_that_fails_reads_as_in_our_own_loop_and_keeps_its_kind(
    tiny: Tiny, tools: list[OsvlTool], name: str, arguments: Any, kind: str
) -> None:
    loop = stock_loop(tiny, tools)
    response, _, metrics = await call(loop, episode(Image.new("RGB", (64, 64))), name, arguments)
    assert str(response.text).startswith(f"Error ({kind}): ")
    assert response.image is None
    assert metrics["error_kind"] == kind


async def test_pictures_over_the_bound_are_an_error_and_no_crash(tiny: Tiny, tools: list[OsvlTool]) -> None:
    loop = stock_loop(tiny, tools)
    _, _, metrics = await call(loop, episode(*(Image.new("RGB", (8, 8)) for _ in range(33))), "crop", BOX)
    assert metrics["error_kind"] == "limit"


async def test_calls_of_one_turn_run_side_by_side_with_different_names(tiny: Tiny, tools: list[OsvlTool]) -> None:
    loop, data = stock_loop(tiny, tools), episode(Image.new("RGB", (64, 64)))
    answers = await asyncio.gather(*(call(loop, data, "crop", BOX) for _ in range(4)))
    assert {response.text for response, _, _ in answers} == {f"img_{number} (40x30)" for number in range(2, 6)}


async def test_a_turn_of_the_stock_loop_shows_the_model_the_new_picture(tiny: Tiny, tools: list[OsvlTool]) -> None:
    loop, picture = stock_loop(tiny, tools), Image.new("RGB", (64, 64))
    data = episode(picture)
    data.messages = [{"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": "?"}]}]
    await loop._handle_pending_state(data, {})
    turn = tiny.processor.tokenizer.encode(format_call("crop", BOX, "look") + "<|im_end|>")
    _, data.tool_calls = await loop.tool_parser.extract_tool_calls(turn, [tool.tool_schema for tool in tools])
    data.messages.append(loop._build_assistant_message("", data))
    data.prompt_ids = [*data.prompt_ids, *turn]
    data.response_mask = [1] * len(turn)
    before = len(data.prompt_ids)
    assert await loop._handle_processing_tools_state(data) == AgentState.GENERATING
    assert [image.size for image in data.image_data] == [(64, 64), (40, 30)]
    assert "img_2 (40x30)" in tiny.processor.tokenizer.decode(data.prompt_ids[before:])


async def test_injected_faults_reach_the_stock_loop(tiny: Tiny, atlas: Corpus) -> None:
    settings = {"corpus": str(atlas.folder), "episode": {"faults": {"start": 1.0, "stay": 1.0}}}
    loop = stock_loop(tiny, [OsvlTool({"type": "native", "name": "crop", "osvl": settings}, None)])
    _, _, metrics = await call(loop, episode(Image.new("RGB", (64, 64))), "crop", BOX)
    assert metrics["error_kind"] in {"timeout", "rate_limited", "unavailable"}


@pytest.mark.parametrize(
    ("config", "said"),
    [({"name": "fly"}, "config.name"), ({}, "config.name"), ({"name": "crop", "osvl": {"k": 1}}, "osvl.k")],
)
def test_a_wrong_entry_of_the_yaml_stops_the_run(atlas: Corpus, config: dict[str, Any], said: str) -> None:
    config = {"osvl": {}, **config}
    config["osvl"] = {"corpus": str(atlas.folder), **config["osvl"]}
    with pytest.raises(SettingError, match=said):
        OsvlTool(config, None)


def test_the_path_that_the_recipe_names_is_one_that_verl_takes() -> None:
    named = recipe_path("osvl/tools.yaml")
    assert resolve_config_path(named) == str(YAML)
    assert Path(named).is_absolute()
