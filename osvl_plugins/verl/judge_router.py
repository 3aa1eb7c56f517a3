"""verl's generative reward model as a judge: what it serves is asked like any OpenAI-compatible server.

verl starts the model from ``reward.reward_model`` and hands reward managers the address of its router. It asks a
reward model as a classifier, and no reward manager at all, unless ``reward.custom_reward_function.path`` is set (verl
0.9.1, ``RewardLoopWorker.compute_score``); a recipe names ``reward_of_the_manager`` there:

    reward:
      reward_model: {enable: true, model_path: ...}
      custom_reward_function: {path: pkg://osvl_plugins.verl.judge_router, name: reward_of_the_manager}
"""

from __future__ import annotations

from typing import Any, NoReturn

from verl.utils.fs import copy_to_local

from osvl_plugins.errors import SettingError
from osvl_plugins.reward.judges.openai import JudgeSettings


def router_settings(config: Any, address: str | None, settings: JudgeSettings) -> JudgeSettings:
    """``settings`` with the url and the model of verl's reward model; ``model`` stays where it is given.

    ``config`` is the run's config and ``address`` the ``reward_router_address`` (``host:port``) that verl hands to a
    reward manager. Raises ``SettingError`` where verl would not start the model or would not ask the manager.
    """
    if address is None:
        raise SettingError("reward.reward_model.enable", "must be true for the judge to be verl's reward model")
    if config.reward.custom_reward_function.path is None:
        raise SettingError(
            "reward.custom_reward_function.path",
            f"must be set, as in pkg://{__name__} with the name reward_of_the_manager, or verl asks the reward model "
            "as a classifier",
        )
    # The name under which verl's servers know a model is the path that they load it from.
    model = settings.model or copy_to_local(config.reward.reward_model.model_path)
    return settings.model_copy(update={"url": f"http://{address}/v1", "model": model, "key_env": ""})


def reward_of_the_manager(*unused: Any, **also_unused: Any) -> NoReturn:
    """What ``reward.custom_reward_function`` names, so that verl asks the reward manager; never called by ours."""
    raise SettingError("reward.reward_manager.name", "must be osvl_composite: there is no other reward function here")
