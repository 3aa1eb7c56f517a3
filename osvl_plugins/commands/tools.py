"""``osvl tools``: the agent's tools, listed and called from a shell."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osvl_plugins.commands.options import Commands, add_command, add_group, corpus_option

if TYPE_CHECKING:
    from osvl_plugins.agent import AgentSettings
    from osvl_plugins.images import ImageStore
    from osvl_plugins.tools.toolset import ToolSet
    from osvl_plugins.trajectory import Observation, ToolCall

OUT = Path("outputs/tools")


def add(commands: Commands) -> None:
    """Put the commands into the parser."""
    group = add_group(commands, "tools", "the agent's tools")
    listing = add_command(group, "list", _list, "what tools there are, with their arguments and defaults")
    listing.add_argument("--json", action="store_true", help="as function schemas in OpenAI's format")
    agent_options(listing)
    call = add_command(group, "call", _call, "call one tool")
    call.usage = "%(prog)s NAME [KEY=VALUE ...] [options]"
    call.add_argument("name", metavar="NAME", help="name of the tool")
    call.add_argument("arguments", type=pair, nargs="*", metavar="KEY=VALUE", help="arguments of the tool")
    call.add_argument(
        "--image", type=Path, action="append", default=[], metavar="FILE", help="a picture: the first is img_1, ..."
    )
    call.add_argument("--out", type=Path, default=OUT, help="folder for new pictures (%(default)s)")
    agent_options(call)


def agent_options(command: argparse.ArgumentParser) -> None:
    """``--corpus``, ``--config`` and ``--set``."""
    corpus_option(command)
    command.add_argument(
        "--config", type=Path, metavar="FILE", help="a YAML file with the group osvl, such as a run's config"
    )
    command.add_argument(
        "--set", type=pair, action="append", default=[], metavar="KEY=VALUE",
        help="another setting of the group osvl, such as calls.deadline_s=10",
    )  # fmt: skip


def agent_settings(args: argparse.Namespace) -> AgentSettings:
    """The settings that ``agent_options`` were given. Raises ``SettingError``."""
    from osvl_plugins.agent import AgentSettings
    from osvl_plugins.settings import read

    values: dict[str, Any] = {"corpus": str(args.corpus), **(config_group(args.config) if args.config else {})}
    for key, text in args.set:
        put_setting(values, key, text)
    return read(AgentSettings, values, "osvl")


def put_setting(values: dict[str, Any], key: str, text: str, whole: str = "osvl") -> None:
    """Set ``key``, a dotted name within the group ``whole``, in ``values``. Raises ``SettingError``."""
    from osvl_plugins.errors import SettingError

    *groups, last = key.split(".")
    group = values
    for name in groups:
        group = group.setdefault(name, {})
        if not isinstance(group, dict):
            raise SettingError(f"{whole}.{key}", f"{name} is no group of settings")
    group[last] = json_value(text)


def config_group(file: Path, name: str = "osvl") -> dict[str, Any]:
    """The group ``name`` of a YAML file. Raises ``SettingError``."""
    from osvl_plugins.errors import SettingError

    try:
        from omegaconf import DictConfig, OmegaConf
        from omegaconf.errors import OmegaConfBaseException
        from yaml import YAMLError
    except ImportError as error:
        raise SettingError("--config", f"reading YAML needs {error.name}: pip install omegaconf") from error
    try:
        config = OmegaConf.load(file)
        group = config.get(name) if isinstance(config, DictConfig) else None
        if not isinstance(group, DictConfig):
            raise SettingError("--config", f"{file} has no group {name}")
        values: Any = OmegaConf.to_container(group, resolve=True)
    except (OSError, YAMLError, OmegaConfBaseException) as error:
        raise SettingError("--config", f"{file} cannot be read: {error}") from error
    return dict(values)


def _list(args: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from osvl_plugins.agent import build_tools

    tools = build_tools(agent_settings(args))
    if args.json:
        print(json.dumps(tools.schemas, indent=2, ensure_ascii=False))
        return 0
    table = Table("tool, backend", "what it does, arguments", show_lines=True)
    for tool, schema in zip(tools.tools.values(), tools.schemas, strict=True):
        arguments = ", ".join(_argument(*item) for item in schema["function"]["parameters"]["properties"].items())
        table.add_row(f"{tool.name}\n[dim]{escape(tool.backend)}[/]", escape(f"{tool.description}\n{arguments}"))
    Console().print(table)
    return 0


def _argument(name: str, schema: dict[str, Any]) -> str:
    return f"{name}={json.dumps(schema['default'], ensure_ascii=False)}" if "default" in schema else name


def _call(args: argparse.Namespace) -> int:
    import asyncio
    import sys

    from osvl_plugins.agent import build_tools
    from osvl_plugins.images import ImageStore, decode
    from osvl_plugins.terminal import printable
    from osvl_plugins.trajectory import ToolCall

    settings = agent_settings(args)
    if args.name in settings.tools:  # what the others need, such as a corpus, may be missing
        settings = settings.model_copy(update={"tools": (args.name,)})
    tools = build_tools(settings)
    store = ImageStore(settings.episode.images)
    for file in args.image:
        store.add(decode(str(file), settings.episode.images))
    call = ToolCall(args.name, _arguments(tools, args.name, args.arguments))
    observation = asyncio.run(_run(tools, call, store))
    failed = observation.error is not None
    stream = sys.stderr if failed else sys.stdout
    print(printable(observation.text) if stream.isatty() else observation.text, file=stream)
    print(f"{observation.latency_s:.3f} s, backend: {observation.backend or 'none'}", file=stream)
    _save(observation, store, args.out, args.name)
    return 1 if failed else 0


async def _run(tools: ToolSet, call: ToolCall, store: ImageStore) -> Observation:
    from osvl_plugins.tools.base import ToolContext

    try:
        return await tools.run(call, ToolContext(store))
    finally:
        await tools.aclose()


def _arguments(tools: ToolSet, name: str, pairs: list[tuple[str, str]]) -> dict[str, Any]:
    tool = tools.tools.get(name)
    known = tool.arguments.model_json_schema().get("properties", {}) if tool is not None else {}
    # A text stays as it was typed: the query 1492 is no number.
    return {key: text if known.get(key, {}).get("type") == "string" else json_value(text) for key, text in pairs}


def _save(observation: Observation, store: ImageStore, folder: Path, tool: str) -> None:
    import shutil
    import sys
    from itertools import count

    from osvl_plugins.terminal import half_blocks

    for image_id in observation.image_ids:
        folder.mkdir(parents=True, exist_ok=True)
        file = next(path for number in count(1) if not (path := folder / f"{tool}-{number}.png").exists())
        store.original(image_id).save(file)
        print(f"{image_id} saved as {file}")
        if sys.stdout.isatty():
            window = shutil.get_terminal_size()
            print(half_blocks(store.original(image_id), window.columns, max(1, window.lines - 2)))


def pair(text: str) -> tuple[str, str]:
    """``KEY=VALUE``."""
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"must look like KEY=VALUE, got {text!r}")
    return key, value


def json_value(text: str) -> Any:
    """``text`` as JSON where it is that, else as it stands."""
    try:
        return json.loads(text)
    except ValueError:
        return text
