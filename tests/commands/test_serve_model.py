"""``osvl serve-model`` as a process."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from osvl_plugins.cli import main
from tests.tiny import load_tiny

LINE = "import sys; from osvl_plugins.cli import main; sys.exit(main(sys.argv[1:]))"


def test_it_serves_under_the_folders_name_until_it_is_interrupted(tmp_path: Path) -> None:
    load_tiny(tmp_path / "tiny")
    running = subprocess.Popen(
        [sys.executable, "-c", LINE, "serve-model", str(tmp_path / "tiny"), "--port", "0"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = threading.Timer(120, running.kill)
    deadline.start()
    assert running.stderr is not None
    said = next(line for line in running.stderr if line.startswith("serving"))
    found = re.fullmatch(r"serving tiny on (http://127\.0\.0\.1:\d+/v1)\n", said)
    assert found
    with urllib.request.urlopen(f"{found[1]}/models", timeout=30) as answer:
        assert json.load(answer)["data"][0]["id"] == "tiny"
    running.send_signal(signal.SIGINT)
    errors = running.communicate(timeout=60)[1]
    deadline.cancel()
    assert (running.returncode, "Traceback" in errors) == (130, False), errors


def test_a_folder_without_a_checkpoint_cannot_be_served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve-model", str(tmp_path)]) == 2
    assert "there is no checkpoint" in capsys.readouterr().err
