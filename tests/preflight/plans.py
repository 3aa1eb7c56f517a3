"""Recipes as they compose, with overrides."""

from __future__ import annotations

from functools import lru_cache

from osvl_plugins.preflight.check import plan_of
from osvl_plugins.preflight.plan import Plan
from osvl_plugins.preflight.recipes import compose


@lru_cache(maxsize=64)
def plan(name: str, *overrides: str) -> Plan:
    """The recipe's plan."""
    return plan_of(compose(name, list(overrides)))
