from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

pytest.importorskip("verl")
if not any(point.name == "osvl" for point in entry_points(group="verl.plugins")):
    pytest.skip("osvl-plugins is not installed, so verl cannot find it", allow_module_level=True)

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.doctor import examine, supported

RUN = "import sys; from osvl_plugins.cli import main; sys.exit(main(sys.argv[1:]))"


def doctor(corpus: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OSVL_", "VERL_", "RAY_"))}
    return subprocess.run(
        [sys.executable, "-c", RUN, "doctor", "--corpus", str(corpus)],
        env={**inherited, "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=500,
    )


def test_a_healthy_environment_is_all_well(atlas: Corpus) -> None:
    done = doctor(atlas.folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all well" in done.stdout
    assert "→" not in done.stdout or "not in the corpus" in done.stdout


def test_a_broken_hook_that_verl_hides_is_reported(tmp_path: Path, atlas: Corpus) -> None:
    blocked = "import sys\nsys.modules['osvl_plugins.verl.estimators'] = None\n"
    (tmp_path / "sitecustomize.py").write_text(blocked, encoding="utf-8")
    done = doctor(atlas.folder, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    line = next(line for line in done.stdout.splitlines() if line.startswith("broken"))
    assert "estimators osvl_grpo, osvl_rloo" in line
    assert "ModuleNotFoundError" in line
    assert "→" in done.stdout


def test_a_plugin_that_does_not_import_is_reported_with_its_reason(tmp_path: Path) -> None:
    blocked = "import sys\nsys.modules['osvl_plugins.verl.mrope_guard'] = None\n"
    (tmp_path / "sitecustomize.py").write_text(blocked, encoding="utf-8")
    done = doctor(tmp_path / "no corpus", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "osvl_plugins.verl.mrope_guard" in done.stdout


def test_what_is_missing_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERL_USE_EXTERNAL_PLUGINS", "none")
    broken = [check for section in examine(tmp_path) for check in section.checks if not check.ok]
    assert {"VERL_USE_EXTERNAL_PLUGINS", "osvl_plugins.verl.plugin", "hooks", "corpus"} <= {c.name for c in broken}
    assert all(check.remedy for check in broken)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("0.9.1", True),
        ("0.9.2.dev", True),
        ("0.9.10", True),
        ("0.9.0", False),
        ("0.8.3", False),
        ("0.10.0", False),
        ("0.10.0.dev0", False),
        ("1.0", False),
        ("", False),
    ],
)
def test_supported_versions_of_verl(version: str, expected: bool) -> None:
    assert supported(version) is expected
