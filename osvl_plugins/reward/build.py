"""The judges that ``osvl.reward`` names, put into a scorer."""

from __future__ import annotations

from osvl_plugins.backends.budget import Budgets
from osvl_plugins.backends.services import Services, ServiceSettings
from osvl_plugins.backends.workers import ProcessWorkers, WorkerSettings
from osvl_plugins.errors import SettingError
from osvl_plugins.reward.composite import Scorer
from osvl_plugins.reward.judge import AccuracyJudge
from osvl_plugins.reward.judges.openai import accuracy_judge, query_judge
from osvl_plugins.reward.judges.rules import RuleJudge
from osvl_plugins.reward.settings import RewardSettings


def build_scorer(
    settings: RewardSettings,
    services: ServiceSettings,
    budgets: Budgets | None = None,
    *,
    score_fatal_answer: bool = False,
) -> Scorer:
    """The scorer of ``settings``; models are asked as ``services`` and ``budgets`` allow (those of the node, if None).

    Raises ``SettingError`` where a judge lacks a setting, and ``OsvlError`` where budgets or recordings cannot be kept.
    """
    if not settings.asks_model:
        return Scorer(settings, RuleJudge(), score_fatal_answer=score_fatal_answer)
    if settings.accuracy == "router" and not settings.judge.url:
        raise SettingError(
            "osvl.reward.accuracy", "only the reward manager osvl_composite has a router; set it to judge"
        )
    live = Services(services, ProcessWorkers(WorkerSettings()), budgets)
    model, where = settings.judge, "osvl.reward.judge"
    answers: AccuracyJudge = RuleJudge()
    if settings.accuracy != "rules":
        answers = accuracy_judge(model, live.http, live.recorder, where)
    if settings.accuracy == "rules_then_judge":
        answers = RuleJudge(answers)
    searches = query_judge(model, live.http, live.recorder, where) if settings.query == "judge" else None
    return Scorer(settings, answers, searches, score_fatal_answer=score_fatal_answer, close=live.aclose)
