"""Lets Hydra find this package's recipes: ``--config-name osvl_tiny_rl`` and ``+osvl=agent`` with verl's launchers.

Hydra imports everything in the namespace package ``hydra_plugins``, of which this is one portion.
"""

from __future__ import annotations

import omegaconf
from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from osvl_plugins.recipes import register_resolver

register_resolver(omegaconf)


class OsvlSearchPath(SearchPathPlugin):
    """Appends the recipes, so that a config of verl's own wins over one of the same name."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append(provider="osvl-plugins", path="pkg://osvl_plugins.recipes")
