"""verl's generative reward model as a judge: through verl's own router, in front of a chat server."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("verl")

import uvicorn
from omegaconf import OmegaConf
from verl.experimental.reward_loop.router.naive_router import NaiveRouter
from verl.utils.import_utils import load_extern_object

from osvl_plugins.errors import JudgeFailed, SettingError
from osvl_plugins.reward.judges.openai import JudgeSettings, accuracy_judge
from osvl_plugins.verl.judge_router import router_settings
from tests.backends.doubles import client, recorder
from tests.reward.judges.chat_server import MODEL, WRONG, ChatServer, chat_server

ASKED = ("When was it built?", ["1531"], "In 1532.")
NAMED = {"path": "pkg://osvl_plugins.verl.judge_router", "name": "reward_of_the_manager"}


def config(**reward: Any) -> Any:
    values = {"custom_reward_function": NAMED, "reward_model": {"enable": True, "model_path": MODEL}, **reward}
    return OmegaConf.create({"reward": values})


@pytest.fixture
async def server() -> AsyncIterator[ChatServer]:
    async with chat_server() as server:
        yield server


@pytest.fixture
async def router(server: ChatServer) -> AsyncIterator[str]:
    """The address of verl's router in front of ``server``."""
    worker = server.url.removesuffix("/v1")
    serving = uvicorn.Server(uvicorn.Config(NaiveRouter([worker], retry_delay=0.01).app, log_level="error"))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=serving.run, args=([listening],))
        thread.start()
        try:
            for _ in range(3000):
                if serving.started:
                    break
                await asyncio.sleep(0.01)
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            serving.should_exit = True
            await asyncio.to_thread(thread.join, 30)


async def test_a_verdict_comes_through_verl_s_router(router: str, server: ChatServer, tmp_path: Path) -> None:
    server.says = ["Incorrect: yes", WRONG]
    settings = router_settings(config(), router, JudgeSettings(deadline_s=30))
    async with client(tmp_path) as http:
        assert not (await accuracy_judge(settings, http, recorder(tmp_path), "osvl.reward.judge").judge(*ASKED)).right
    assert len(server.asked) == 2


async def test_a_model_that_breaks_is_a_failure(router: str, server: ChatServer, tmp_path: Path) -> None:
    server.says = [500]
    settings = router_settings(config(), router, JudgeSettings(deadline_s=30))
    async with client(tmp_path) as http:
        with pytest.raises(JudgeFailed):
            await accuracy_judge(settings, http, recorder(tmp_path), "osvl.reward.judge").judge(*ASKED)


def test_address_and_model_are_verl_s_and_the_rest_is_kept() -> None:
    settings = router_settings(config(), "10.0.0.1:8000", JudgeSettings(n=3, key_env="KEY"))
    assert (settings.url, settings.model, settings.key_env) == ("http://10.0.0.1:8000/v1", MODEL, "")
    assert settings.n == 3


def test_a_name_of_the_model_that_is_given_is_kept() -> None:
    assert router_settings(config(), "h:1", JudgeSettings(model="served-as")).model == "served-as"


def test_without_a_reward_model_there_is_no_judge() -> None:
    with pytest.raises(SettingError, match=r"reward\.reward_model\.enable"):
        router_settings(config(), None, JudgeSettings())


def test_where_verl_would_never_ask_the_reward_manager_the_run_stops() -> None:
    with pytest.raises(SettingError, match=r"reward\.custom_reward_function\.path"):
        router_settings(config(custom_reward_function={"path": None, "name": "x"}), "h:1", JudgeSettings())


def test_verl_can_load_what_a_recipe_names_and_another_manager_is_told_so() -> None:
    function: Any = load_extern_object(NAMED["path"], NAMED["name"])
    with pytest.raises(SettingError, match="osvl_composite"):
        function(data_source="", solution_str="", ground_truth="", extra_info=None)
