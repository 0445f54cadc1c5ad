"""The command line: `run` one node, `dev` for a whole cluster on this machine, `config` to look up
settings, `inspect` to look into a data directory.

This is where the world comes in: the arguments, the environment, the signals, the clock and the
randomness. A bad configuration is a sentence per mistake on stderr and exit code 2; nothing has
been touched by then. SIGTERM and SIGINT only set an event: the node decides how to stop (it hands
its leaderships over first), never the HTTP server inside it. Read next: `node` (a broker),
`flanking` (a client beside the brokers), `dev`, `inspection`.
"""

from __future__ import annotations

import asyncio
import enum
import functools
import gc
import importlib.metadata
import os
import pathlib
import random
import signal
import sys
from collections.abc import Coroutine
from typing import Annotated, NoReturn

import typer

from quorate_broker import config, logs, seams

EXIT_CONFIG = 2

app = typer.Typer(
    name="quorate-broker",
    help="A Kafka-compatible message broker with Raft inside.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; may be repeated."),
]


class Role(enum.StrEnum):
    """What a node is."""

    BROKER = "broker"
    FLANKING = "flanking"


class Format(enum.StrEnum):
    """How the registry of settings is printed."""

    TABLE = "table"
    MARKDOWN = "markdown"
    JSON = "json"


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"quorate-broker {importlib.metadata.version('quorate-broker')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """A Kafka-compatible message broker with Raft inside."""


@app.command()
def run(
    config_file: Annotated[
        pathlib.Path | None,
        typer.Option("--config", metavar="FILE", help="A TOML file of settings."),
    ] = None,
    role: Annotated[
        Role | None, typer.Option(help="What this node is; the same as --set node.role=…")
    ] = None,
    overrides: SetOption = None,
) -> NoReturn:
    """Run one node until SIGTERM or SIGINT.

    Settings come from FILE, then from QUORATE_… environment variables (upper case, underscores
    for dots), then from --set; later ones win. `quorate-broker config` lists them all.
    """
    chosen = [*(overrides or ()), *([f"node.role={role}"] if role is not None else ())]
    settings = _load(config_file, chosen)
    told = logs.Logs()
    told.begin(settings)
    live = config.Live(settings, config.pinned(os.environ, chosen))
    if config_file is None:
        sys.exit(asyncio.run(_run(live)))
    again = functools.partial(config.load, config_file, os.environ, chosen)
    sys.exit(asyncio.run(_run(live, told.follow(config_file, again))))


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


@app.command()
def dev(
    nodes: Annotated[int, typer.Option(min=1, max=99, help="How many brokers.")] = 3,
    flanking: Annotated[int, typer.Option(min=0, max=99, help="How many flanking nodes.")] = 0,
    port: Annotated[int, typer.Option(help="Kafka API of node 1; node i has this + i - 1.")] = 9092,
    admin_port: Annotated[int, typer.Option(help="Admin API, counted the same way.")] = 9644,
    proxy_port: Annotated[int, typer.Option(help="HTTP Proxy, counted the same way.")] = 8082,
    rpc_port: Annotated[int, typer.Option(help="Traffic between brokers, likewise.")] = 33145,
    data: Annotated[
        pathlib.Path | None,
        typer.Option(metavar="DIR", help="Keep everything here; else a temporary directory."),
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Start killed nodes again.")] = False,
    overrides: SetOption = None,
) -> NoReturn:
    """Run a whole cluster on this machine.

    One process per node on 127.0.0.1, for people who write clients. Prints one line that begins
    with `ready bootstrap=` when the cluster serves. Each node's pid stands in DIR/node-N/pid,
    what it logs in DIR/node-N/log. Ctrl-C stops all.
    """
    from quorate_broker import dev as development

    options = development.Options(
        nodes=nodes,
        flanking=flanking,
        port=port,
        admin_port=admin_port,
        proxy_port=proxy_port,
        rpc_port=rpc_port,
        data=data,
        restart=restart,
        overrides=tuple(overrides or ()),
    )
    try:
        sys.exit(development.main(options))
    except config.ConfigError as error:
        _refuse(error)


@app.command(name="config")
def show_settings(
    form: Annotated[Format, typer.Option("--format", help="How to print them.")] = Format.TABLE,
) -> None:
    """Print every setting and what it is for."""
    from quorate_broker.config import document

    match form:
        case Format.TABLE:
            print(document.table(os.get_terminal_size().columns if sys.stdout.isatty() else 100))
        case Format.MARKDOWN:
            print(document.markdown())
        case Format.JSON:
            print(document.json_text())


@app.command()
def inspect(
    path: Annotated[
        pathlib.Path,
        typer.Argument(
            metavar="DIR", help="A data directory, one group's folder in it, or one segment file."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
    batches: Annotated[
        bool, typer.Option("--batches", help="List every batch of every segment.")
    ] = False,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Open no segment: identity, votes and checkpoints only."),
    ] = False,
) -> None:
    """Look into a data directory, without touching it.

    Shows whose it is, the terms and votes, and for each group its checkpoint, its members and its
    segments: offsets, terms, producers, sizes. Every batch is read and its checksum verified.
    Nothing is written and no lock is taken: DIR may belong to a running node (which is said; what
    is being written then may look torn).

    Exit code 0: no damage; 1: damage, told in words; 2: there is nothing to inspect.
    """
    from quorate_broker import inspection

    options = inspection.Options(quick=quick, batches=batches)
    try:
        report = inspection.inspect(str(path), options)
    except (inspection.NothingHereError, OSError) as error:
        print(f"quorate-broker: {error}", file=sys.stderr)
        sys.exit(EXIT_CONFIG)
    inspection.tell(report, as_json=as_json)
    sys.exit(1 if report.all_damage else 0)


def main() -> None:
    """The console script."""
    app()


if __name__ == "__main__":
    main()
