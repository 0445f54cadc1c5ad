"""The commands of `kubectl quorate`. Each is a question, or one annotation, or one Admin call.

Installed as `kubectl-quorate` on the PATH, kubectl finds it by itself. Completion:
`kubectl-quorate --install-completion`. Read next: `views.py`.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tarfile
import time
from collections.abc import Iterator
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console, RenderableType
from rich.live import Live

from quorate_operator.cli import bundle, views
from quorate_operator.cli.talk import CommandFailed, Kubectl
from quorate_operator.names import (
    APPROVED_ANNOTATION,
    CLUSTER_LABEL,
    RESTART_ANNOTATION,
    UNBIND_ANNOTATION,
)
from quorate_operator.seams import SystemClock, stamp

APP: Final = typer.Typer(
    name="kubectl quorate",
    help="Look after Quorate clusters.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


WATCH_S: Final = 2.0
pause: Final = time.sleep


class Form(StrEnum):
    TABLE = "table"
    JSON = "json"


Namespace = Annotated[str, typer.Option("--namespace", "-n", help="As in kubectl.")]
Context = Annotated[str, typer.Option(help="As in kubectl.")]
Output = Annotated[Form, typer.Option("--output", "-o", help="How the answer is written.")]


def _names(incomplete: str) -> Iterator[str]:
    """For completion."""
    try:
        found = [one["metadata"]["name"] for one in Kubectl().clusters()]
    except (CommandFailed, OSError, ValueError):
        return
    yield from (name for name in found if name.startswith(incomplete))


Name = Annotated[str, typer.Argument(help="Of the BrokerCluster.", autocompletion=_names)]


def _show(form: Form, value: Any, picture: RenderableType) -> None:
    if form is Form.JSON:
        sys.stdout.write(json.dumps(value, indent=2) + "\n")
    else:
        Console().print(picture)


@APP.command(epilog="Example: kubectl quorate status orders -n shop --watch")
def status(
    name: Annotated[str, typer.Argument(autocompletion=_names)] = "",
    namespace: Namespace = "",
    context: Context = "",
    output: Output = Form.TABLE,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Again every two seconds, until interrupted.")
    ] = False,
) -> None:
    """One cluster with its nodes and conditions; without a name, all of the namespace."""
    kubectl = Kubectl(namespace, context)

    def look() -> tuple[Any, RenderableType]:
        if name:
            found = kubectl.cluster(name)
            return views.status(found), views.status_table(found)
        rows = views.overview(kubectl.clusters())
        return rows, views.overview_table(rows)

    if not watch:
        _show(output, *look())
        return
    if output is Form.JSON:
        raise CommandFailed("--watch draws tables: leave -o json out")
    with Live(look()[1], auto_refresh=False) as live, contextlib.suppress(KeyboardInterrupt):
        while True:
            pause(WATCH_S)
            live.update(look()[1], refresh=True)


@APP.command(epilog="Example: kubectl quorate explain orders")
def explain(
    name: Name, namespace: Namespace = "", context: Context = "", output: Output = Form.TABLE
) -> None:
    """What the operator is doing, what waits, and for what."""
    found = views.explanation(Kubectl(namespace, context).cluster(name))
    _show(output, found, views.explanation_text(name, found))


@APP.command(epilog="Example: kubectl quorate topics orders -o json")
def topics(
    name: Name, namespace: Namespace = "", context: Context = "", output: Output = Form.TABLE
) -> None:
    """The topics of a cluster, and which of their partitions are in trouble."""
    kubectl = Kubectl(namespace, context)
    found = kubectl.cluster(name)
    told = kubectl.admin(found["metadata"]["namespace"], _leader(found)["pod"], "/v1/partitions")
    rows = views.topics(told)
    _show(output, rows, views.topics_table(rows))


def _leader(cluster: dict[str, Any]) -> dict[str, Any]:
    leader: dict[str, Any] | None = cluster.get("status", {}).get("leader")
    if not leader:
        raise CommandFailed(f"{cluster['metadata']['name']}: nobody leads")
    return leader


@APP.command(epilog="Example: kubectl quorate roll orders")
def roll(
    name: Name,
    approve_it: Annotated[
        bool, typer.Option("--approve", help="The same as the command approve.")
    ] = False,
    namespace: Namespace = "",
    context: Context = "",
) -> None:
    """Restart all brokers, one by one, as the operator does it for a change."""
    if approve_it:
        approve(name, namespace, context)
        return
    Kubectl(namespace, context).annotate(name, RESTART_ANNOTATION, stamp(SystemClock().now()))
    typer.echo(f"{name}: its brokers will be restarted one by one")


@APP.command(epilog="Example: kubectl quorate approve orders")
def approve(name: Name, namespace: Namespace = "", context: Context = "") -> None:
    """Let the revision that waits be rolled out (updateStrategy.type: Supervised)."""
    kubectl = Kubectl(namespace, context)
    revision = (kubectl.cluster(name).get("status", {}).get("rollout") or {}).get("revision")
    if not revision:
        raise CommandFailed(f"{name}: nothing waits to be rolled out")
    kubectl.annotate(name, APPROVED_ANNOTATION, revision)
    typer.echo(f"{name}: revision {revision} is approved")


@APP.command(epilog="Example: kubectl quorate unbind orders --node 3")
def unbind(
    name: Name,
    node: Annotated[int, typer.Option(help="Node id of the broker that cannot run.")],
    namespace: Namespace = "",
    context: Context = "",
) -> None:
    """Give up the volume that keeps a broker from running: the others fill it anew.

    Only while the broker can run nowhere, and only when everything it holds is in sync elsewhere.
    """
    kubectl = Kubectl(namespace, context)
    pods = [
        one["pod"]
        for one in kubectl.cluster(name).get("status", {}).get("nodes", [])
        if one["nodeId"] == node and one["role"] == "broker"
    ]
    claims = {
        one["metadata"]["name"]: one["metadata"]["uid"]
        for one in kubectl.listed("persistentvolumeclaims", name)
    }
    claim = f"data-{pods[0]}" if pods else ""
    if claim not in claims:
        raise CommandFailed(f"{name}: there is no broker {node} with a volume")
    kubectl.annotate(name, UNBIND_ANNOTATION, claims[claim])
    typer.echo(f"{name}: volume {claim} will be given up if its broker can run nowhere")


def _set(where: tuple[str, str, str], field: str, value: bool, told: str) -> None:
    name, namespace, context = where
    Kubectl(namespace, context).set(name, field, value)
    typer.echo(f"{name}: {told}")


@APP.command(epilog="Example: kubectl quorate hibernate orders")
def hibernate(name: Name, namespace: Namespace = "", context: Context = "") -> None:
    """Stop every pod and keep the volumes, with all that they hold."""
    _set((name, namespace, context), "hibernate", True, "its pods stop, its volumes stay")


@APP.command(epilog="Example: kubectl quorate wake orders")
def wake(name: Name, namespace: Namespace = "", context: Context = "") -> None:
    """End the hibernation."""
    _set((name, namespace, context), "hibernate", False, "its pods start again")


@APP.command("pause", epilog="Example: kubectl quorate pause orders")
def pause_command(name: Name, namespace: Namespace = "", context: Context = "") -> None:
    """Let the operator change nothing; status goes on, and says what is put off."""
    _set((name, namespace, context), "paused", True, "the operator changes nothing any more")


@APP.command(epilog="Example: kubectl quorate resume orders")
def resume(name: Name, namespace: Namespace = "", context: Context = "") -> None:
    """End the pause."""
    _set((name, namespace, context), "paused", False, "the operator goes on")


@APP.command("transfer-leader", epilog="Example: kubectl quorate transfer-leader orders --to 2")
def transfer_leader(
    name: Name,
    to: Annotated[int, typer.Option(help="Node id of the broker that is to lead.")],
    namespace: Namespace = "",
    context: Context = "",
) -> None:
    """Have the lead handed over, by the brokers themselves."""
    kubectl = Kubectl(namespace, context)
    found = kubectl.cluster(name)
    leader = _leader(found)
    if leader["nodeId"] == to:
        typer.echo(f"{name}: broker {to} leads already")
        return
    path = f"/v1/raft/0/transfer_leadership?target={to}"
    kubectl.admin_post(found["metadata"]["namespace"], leader["pod"], path)
    typer.echo(f"{name}: broker {leader['nodeId']} hands the lead over to broker {to}")


@APP.command(epilog="Example: kubectl quorate logs orders --node 2 --tail 1000")
def logs(
    name: Name,
    node: Annotated[int, typer.Option(help="Node id; all nodes if left out.")] = 0,
    tail: Annotated[int, typer.Option(help="Lines of each.")] = 100,
    namespace: Namespace = "",
    context: Context = "",
) -> None:
    """What the nodes said."""
    kubectl = Kubectl(namespace, context)
    common = (f"--tail={tail}", "--prefix", "--ignore-errors")
    if node:
        nodes = kubectl.cluster(name).get("status", {}).get("nodes", [])
        pods = [one["pod"] for one in nodes if one["nodeId"] == node]
        if not pods:
            raise CommandFailed(f"{name}: there is no node {node}")
        sys.stdout.write(kubectl("logs", pods[0], *common))
    else:
        sys.stdout.write(kubectl("logs", f"--selector={CLUSTER_LABEL}={name}", *common))


@APP.command("bundle", epilog="Example: kubectl quorate bundle orders --file /tmp/orders.tar.gz")
def bundle_command(
    name: Name,
    file: Annotated[Path, typer.Option(help="Default: NAME-bundle.tar.gz")] = Path(),
    namespace: Namespace = "",
    context: Context = "",
) -> None:
    """Everything that somebody who helps would ask for, in one file. No Secrets."""
    target = file if file != Path() else Path(f"{name}-bundle.tar.gz")
    with tarfile.open(target, "w:gz") as archive:
        for path, content in bundle.collect(Kubectl(namespace, context), name):
            entry = tarfile.TarInfo(f"{name}-bundle/{path}")
            entry.size = len(content)
            archive.addfile(entry, BytesIO(content))
    typer.echo(str(target))


def main() -> None:
    """The entry: what went wrong is one sentence, never a trace."""
    try:
        APP()
    except CommandFailed as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
