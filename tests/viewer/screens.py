"""What browser tests share: what they need, and the sizes of screens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

NEEDED = "needs a browser: apt-get install chromium, pip install playwright"
DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
Opener = Callable[..., Any]
