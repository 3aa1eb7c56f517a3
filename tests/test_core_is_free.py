"""The core imports neither of the frameworks, and the package itself imports nothing."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys

import pytest

import osvl_plugins

FRAMEWORKS = ("verl", "rllm")
HEAVY = ("torch", "transformers", "numpy", "PIL", "cv2", "pydantic", "tantivy", "verl", "rllm", "ray", "rich")


def core_modules() -> list[str]:
    """Every module outside the packages that belong to a framework."""
    names = [module.name for module in pkgutil.walk_packages(osvl_plugins.__path__, "osvl_plugins.")]
    adapters = tuple(f"osvl_plugins.{framework}" for framework in FRAMEWORKS)
    return [name for name in names if not name.startswith(adapters)]


def imported_after(code: str) -> set[str]:
    """Top-level names in sys.modules of a fresh process that ran ``code``."""
    code += "\nimport json, sys; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_no_module_of_the_core_imports_a_framework() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    modules = core_modules()
    assert "osvl_plugins.episode" in modules
    imported = imported_after("\n".join(f"import {name}" for name in modules))
    assert not imported & set(FRAMEWORKS)


def test_what_an_agent_needs_imports_no_deep_learning() -> None:
    imported = imported_after("import osvl_plugins.agent, osvl_plugins.reward.composite, osvl_plugins.advantage")
    assert not imported & {"torch", "transformers", "pyarrow", *FRAMEWORKS}


def test_the_package_itself_imports_nothing_heavy() -> None:
    assert not imported_after("import osvl_plugins") & set(HEAVY)
