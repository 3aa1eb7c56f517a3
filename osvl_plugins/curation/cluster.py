"""Functions on shards over Ray Data: on this machine, in processes that end with the run, or on a cluster."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from osvl_plugins.errors import OsvlError

OBJECT_STORE_BYTES = 100 * 2**20
"""Numbers and reports of shards travel through it; rows go by the run's folder."""


@contextmanager
def session(parallel: int, address: str = "") -> Iterator[None]:
    """Ray, with ``parallel`` workers on this machine, or at ``address``. A session that is there already is used.

    Raises ``OsvlError`` when Ray is missing, does not start or cannot be reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise OsvlError("the pipeline runs on Ray Data: pip install 'ray[data]'") from error
    if ray.is_initialized():
        yield
        return
    local: dict[str, Any] = {
        "num_cpus": parallel,
        "object_store_memory": OBJECT_STORE_BYTES,
        "include_dashboard": False,
    }
    given = {"address": address} if address else {"address": "local", **local}
    try:
        with held_signals() as came:
            ray.init(**given, log_to_driver=False, logging_level=logging.ERROR, configure_logging=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise OsvlError(f"Ray {'cannot be reached' if address else 'does not start'}: {error}") from error
    try:
        for number in came:
            signal.raise_signal(number)
        yield
    finally:
        ray.shutdown()


def over_shards(
    function: Callable[[dict[str, Any]], str], items: Sequence[dict[str, Any]], parallel: int
) -> Iterator[str]:
    """What ``function`` gives for each item, as each is done; at most ``parallel`` at a time.

    An item whose worker dies is begun again, without end. Raises ``OsvlError`` when Ray itself fails.
    """
    import ray.data
    from ray.data import DataContext, TaskPoolStrategy
    from ray.exceptions import RayError

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    DataContext.get_current().enable_progress_bars = False
    dataset = ray.data.from_items([{"item": json.dumps(item)} for item in items], override_num_blocks=len(items))

    def work(row: dict[str, Any]) -> dict[str, Any]:
        return {"report": function(json.loads(row["item"]))}

    mapped = dataset.map(work, compute=TaskPoolStrategy(size=min(parallel, len(items))), num_cpus=1)
    try:
        for row in mapped.iter_rows():
            yield row["report"]
    except RayError as error:
        raise OsvlError(f"Ray failed: {error}; what is done is kept, run again to go on") from error


@contextmanager
def held_signals() -> Iterator[list[int]]:
    """Hold SIGINT and SIGTERM back, and give the list of those that came; their handlers are put back at the end.

    Ray that is interrupted while it starts can wait for itself without end, and it replaces the handler of SIGTERM by
    one that ends this process without a word.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda number, frame: came.append(number))
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
