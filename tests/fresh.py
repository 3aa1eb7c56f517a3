"""What verl and the plugin do in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

REPORT = """
import json, sys
from dataclasses import asdict
print(json.dumps({
    "status": {r["name"]: r["status"] for r in map(asdict, sys.modules["osvl_plugins.verl.plugin"].registrations())},
    "detail": {r["name"]: r["detail"] for r in map(asdict, sys.modules["osvl_plugins.verl.plugin"].registrations())},
    "modules": sorted(sys.modules),
    "environment": dict(__import__("os").environ),
    "value": globals().get("value"),
}))
"""


def after(code: str, **environment: str) -> dict[str, Any]:
    """What a fresh process reports after running ``code``."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OSVL_", "VERL_", "OMP_", "RAY_"))}
    done = subprocess.run(
        [sys.executable, "-c", code + REPORT],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout.splitlines()[-1]), "stderr": done.stderr}
