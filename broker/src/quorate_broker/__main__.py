"""The command line: `run` one node, `dev` for a whole cluster on this machine, `config` to look up
settings, `inspect` to look into a data directory.

This is where the world comes in: the arguments, the environment, the signals, the clock and the
randomness. A bad configuration is a sentence per mistake on stderr and exit code 2; nothing has
been touched by then. SIGTERM and SIGINT only set an event: the node decides how to stop (it hands
its leaderships over first), never the HTTP server inside it. Read next: `node` (a broker),
`flanking` (a client beside the brokers), `dev`, `inspection`.

By argparse, and each command imports what it needs: a node is to be there soon.
"""

from __future__ import annotations

import argparse
import asyncio
import enum
import functools
import gc
import inspect
import os
import pathlib
import random
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import NoReturn

from quorate_broker import config, logs, seams

EXIT_CONFIG = 2
MAX_NODES = 99

Add = Callable[..., object]
"""`ArgumentParser.add_argument` of one command."""


class Role(enum.StrEnum):
    """What a node is."""

    BROKER = "broker"
    FLANKING = "flanking"


class Format(enum.StrEnum):
    """How the registry of settings is printed."""

    TABLE = "table"
    MARKDOWN = "markdown"
    JSON = "json"


def run(chosen: argparse.Namespace) -> NoReturn:
    """Run one node until SIGTERM or SIGINT.

    Settings come from FILE, then from QUORATE_… environment variables (upper case, underscores
    for dots), then from --set; later ones win. `quorate-broker config` lists them all.
    """
    file: pathlib.Path | None = chosen.config
    overrides: list[str] = chosen.overrides
    if chosen.role is not None:
        overrides = [*overrides, f"node.role={chosen.role}"]
    settings = _load(file, overrides)
    told = logs.Logs()
    told.begin(settings)
    live = config.Live(settings, config.pinned(os.environ, overrides))
    if file is None:
        sys.exit(asyncio.run(_run(live)))
    again = functools.partial(config.load, file, os.environ, overrides)
    sys.exit(asyncio.run(_run(live, told.follow(file, again))))


def _load(path: pathlib.Path | None, overrides: list[str]) -> config.Settings:
    try:
        return config.load(path, os.environ, overrides)
    except config.ConfigError as error:
        _refuse(error)


def _refuse(error: config.ConfigError) -> NoReturn:
    for problem in error.problems:
        print(f"quorate-broker: {problem}", file=sys.stderr)
    sys.exit(EXIT_CONFIG)


async def _run(live: config.Live, beside: Coroutine[None, None, None] | None = None) -> int:
    """Run one node, and something beside it for as long as it runs."""
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(beside) if beside is not None else None
        code = await _node(live)
        if following is not None:
            following.cancel()
    return code


async def _node(live: config.Live) -> int:
    """Compose one node; the imports are here so that --help needs none of it."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    clock, source = seams.SystemClock(), random.Random()
    if live.file.node_role == Role.FLANKING:
        from quorate_broker import flanking

        return await flanking.run(live.file, clock, source, stop)
    gc.disable()
    from quorate_broker import node

    # Of what is there now nothing is garbage, ever; and a broker makes few cycles.
    gc.freeze()
    gc.set_threshold(10_000)
    gc.enable()
    return await node.run(live, clock, source, stop)


def dev(chosen: argparse.Namespace) -> NoReturn:
    """Run a whole cluster on this machine.

    One process per node on 127.0.0.1, for people who write clients. Prints one line that begins
    with `ready bootstrap=` when the cluster serves. Each node's pid stands in DIR/node-N/pid,
    what it logs in DIR/node-N/log. Ctrl-C stops all.
    """
    from quorate_broker import dev as development

    options = development.Options(
        nodes=chosen.nodes,
        flanking=chosen.flanking,
        port=chosen.port,
        admin_port=chosen.admin_port,
        proxy_port=chosen.proxy_port,
        rpc_port=chosen.rpc_port,
        data=chosen.data,
        restart=chosen.restart,
        overrides=tuple(chosen.overrides),
    )
    try:
        sys.exit(development.main(options))
    except config.ConfigError as error:
        _refuse(error)


def show_settings(chosen: argparse.Namespace) -> None:
    """Print every setting and what it is for."""
    from quorate_broker.config import document

    match Format(chosen.format):
        case Format.TABLE:
            print(document.table(os.get_terminal_size().columns if sys.stdout.isatty() else 100))
        case Format.MARKDOWN:
            print(document.markdown())
        case Format.JSON:
            print(document.json_text())


def inspect_directory(chosen: argparse.Namespace) -> NoReturn:
    """Look into a data directory, without touching it.

    Shows whose it is, the terms and votes, and for each group its checkpoint, its members and its
    segments: offsets, terms, producers, sizes. Every batch is read and its checksum verified.
    Nothing is written and no lock is taken: DIR may belong to a running node (which is said; what
    is being written then may look torn).

    Exit code 0: no damage; 1: damage, told in words; 2: there is nothing to inspect.
    """
    from quorate_broker import inspection

    options = inspection.Options(quick=chosen.quick, batches=chosen.batches)
    try:
        report = inspection.inspect(chosen.path, options)
    except (inspection.NothingHereError, OSError) as error:
        print(f"quorate-broker: {error}", file=sys.stderr)
        sys.exit(EXIT_CONFIG)
    inspection.tell(report, as_json=chosen.json)
    sys.exit(1 if report.all_damage else 0)


def show_completion(parser: argparse.ArgumentParser, chosen: argparse.Namespace) -> None:
    """Print what makes a shell complete commands and options.

    For bash: source <(quorate-broker completion bash)
    """
    import shtab

    print(shtab.complete(parser, chosen.shell))


# -- the arguments


class _Version(argparse.Action):
    """Looked up only when somebody asks."""

    def __call__(self, *_: object) -> NoReturn:
        import importlib.metadata

        print(f"quorate-broker {importlib.metadata.version('quorate-broker')}")
        sys.exit()


def _from(least: int) -> Callable[[str], int]:
    def count(text: str) -> int:
        number = int(text)
        if not least <= number <= MAX_NODES:
            raise argparse.ArgumentTypeError(f"{number} is not from {least} to {MAX_NODES}")
        return number

    return count


def _parser() -> argparse.ArgumentParser:
    about = "A Kafka-compatible message broker with Raft inside."
    parser = argparse.ArgumentParser("quorate-broker", description=about, allow_abbrev=False)
    parser.add_argument("--version", action=_Version, nargs=0, help="Print the version.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(
        name: str, carry_out: Callable[[argparse.Namespace], None]
    ) -> Callable[..., object]:
        text = inspect.getdoc(getattr(carry_out, "func", carry_out)) or ""
        made = commands.add_parser(
            name,
            help=text.partition("\n")[0],
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        made.set_defaults(carry_out=carry_out)
        return made.add_argument

    _add_run(command("run", run))
    _add_dev(command("dev", dev))
    add = command("config", show_settings)
    add("--format", choices=[*Format], default=Format.TABLE, help="How to print them.")
    add = command("inspect", inspect_directory)
    add("path", metavar="DIR", help="A data directory, a group's folder in it, or a segment file.")
    add("--json", action="store_true", help="Print JSON, for programs.")
    add("--batches", action="store_true", help="List every batch of every segment.")
    only = "Open no segment: identity, votes and checkpoints only."
    add("--quick", action="store_true", help=only)
    add = command("completion", functools.partial(show_completion, parser))
    add("shell", choices=["bash", "zsh", "tcsh"], help="Whose.")
    return parser


def _add_overrides(add: Add) -> None:
    more = {"dest": "overrides", "action": "append", "default": []}
    add("--set", metavar="KEY=VALUE", help="Override a setting; may be repeated.", **more)


def _add_run(add: Add) -> None:
    add("--config", metavar="FILE", type=pathlib.Path, help="A TOML file of settings.")
    add("--role", choices=[*Role], help="What this node is; the same as --set node.role=…")
    _add_overrides(add)


def _add_dev(add: Add) -> None:
    add("--nodes", type=_from(1), default=3, help="How many brokers (3).")
    add("--flanking", type=_from(0), default=0, help="How many flanking nodes (0).")
    ports = {
        "--port": (9092, "Kafka API of node 1; node i has this + i - 1"),
        "--admin-port": (9644, "Admin API, counted the same way"),
        "--proxy-port": (8082, "HTTP Proxy, counted the same way"),
        "--rpc-port": (33145, "Traffic between brokers, likewise"),
    }
    for name, (port, what) in ports.items():
        add(name, metavar="PORT", type=int, default=port, help=f"{what} ({port}).")
    keep = "Keep everything here; else a temporary directory."
    add("--data", metavar="DIR", type=pathlib.Path, help=keep)
    add("--restart", action="store_true", help="Start killed nodes again.")
    _add_overrides(add)


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script."""
    chosen = _parser().parse_args(arguments)
    chosen.carry_out(chosen)


if __name__ == "__main__":
    main()
