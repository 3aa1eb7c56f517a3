"""``osvl serve-model``: a checkpoint behind the OpenAI chat API, for a machine without vLLM or SGLang."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from osvl_plugins.commands.options import Commands, add_command

if TYPE_CHECKING:
    from osvl_plugins.inference.server import ChatServer

PORT = 8000


def add(commands: Commands) -> None:
    """Put the command into the parser."""
    command = add_command(commands, "serve-model", _serve, "serve a small model over the OpenAI chat API")
    command.add_argument("model", type=Path, metavar="MODEL", help="folder of the model")
    command.add_argument("--name", help="name of the model in the API (that of its folder)")
    command.add_argument("--port", type=int, default=PORT, help="port of 127.0.0.1, 0 for any (%(default)s)")


def _serve(args: argparse.Namespace) -> int:
    import asyncio

    from osvl_plugins.inference.local import load_local
    from osvl_plugins.inference.server import ChatServer

    local = load_local(args.model)
    name = args.name or args.model.resolve().name
    try:
        asyncio.run(_until_interrupted(ChatServer(local.generator, local.chat, name), args.port))
    except KeyboardInterrupt:
        return 130
    finally:
        local.generator.close()
    return 0


async def _until_interrupted(server: ChatServer, port: int) -> None:
    import asyncio
    import sys

    from osvl_plugins.errors import OsvlError
    from osvl_plugins.inference.server import serving

    try:
        async with serving(server, port=port) as url:
            print(f"serving {server.name} on {url}", file=sys.stderr, flush=True)
            await asyncio.Event().wait()
    except OSError as error:
        raise OsvlError(f"cannot listen on port {port}: {error}") from error
