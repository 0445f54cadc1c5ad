"""The commands of `kubectl quorate`. Each is a question, or one annotation, or one Admin call.

Installed as `kubectl-quorate` on the PATH, kubectl finds it by itself. Completion:
`kubectl-quorate --install-completion`. Read next: `views.py`.
"""

from __future__ import annotations

import json
import sys
import tarfile
from collections.abc import Iterator
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console, RenderableType

from quorate_operator.cli import bundle, views
from quorate_operator.cli.talk import CommandFailed, Kubectl
from quorate_operator.names import APPROVED_ANNOTATION, CLUSTER_LABEL, RESTART_ANNOTATION
from quorate_operator.seams import SystemClock, stamp

APP: Final = typer.Typer(
    name="kubectl quorate",
    help="Look after Quorate clusters.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


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


@APP.command()
def status(
    name: Annotated[str, typer.Argument(autocompletion=_names)] = "",
    namespace: Namespace = "",
    context: Context = "",
    output: Output = Form.TABLE,
) -> None:
    """One cluster with its nodes and conditions; without a name, all of the namespace."""
    kubectl = Kubectl(namespace, context)
    if name:
        found = kubectl.cluster(name)
        _show(output, views.status(found), views.status_table(found))
    else:
        rows = views.overview(kubectl.clusters())
        _show(output, rows, views.overview_table(rows))


@APP.command()
def explain(
    name: Name, namespace: Namespace = "", context: Context = "", output: Output = Form.TABLE
) -> None:
    """What the operator is doing, what waits, and for what."""
    found = views.explanation(Kubectl(namespace, context).cluster(name))
    _show(output, found, views.explanation_text(name, found))


@APP.command()
def roll(
    name: Name,
    approve: Annotated[
        bool, typer.Option("--approve", help="Approve the revision that waits (Supervised).")
    ] = False,
    namespace: Namespace = "",
    context: Context = "",
) -> None:
    """Restart all brokers, one by one, as the operator does it for a change."""
    kubectl = Kubectl(namespace, context)
    if not approve:
        kubectl.annotate(name, RESTART_ANNOTATION, stamp(SystemClock().now()))
        typer.echo(f"{name}: its brokers will be restarted one by one")
        return
    revision = (kubectl.cluster(name).get("status", {}).get("rollout") or {}).get("revision")
    if not revision:
        raise CommandFailed(f"{name}: nothing waits to be rolled out")
    kubectl.annotate(name, APPROVED_ANNOTATION, revision)
    typer.echo(f"{name}: revision {revision} is approved")


@APP.command("transfer-leader")
def transfer_leader(
    name: Name,
    to: Annotated[int, typer.Option(help="Node id of the broker that is to lead.")],
    namespace: Namespace = "",
    context: Context = "",
) -> None:
    """Have the lead handed over, by the brokers themselves."""
    kubectl = Kubectl(namespace, context)
    found = kubectl.cluster(name)
    leader = found.get("status", {}).get("leader")
    if not leader:
        raise CommandFailed(f"{name}: nobody leads")
    if leader["nodeId"] == to:
        typer.echo(f"{name}: broker {to} leads already")
        return
    path = f"/v1/raft/0/transfer_leadership?target={to}"
    kubectl.admin_post(found["metadata"]["namespace"], leader["pod"], path)
    typer.echo(f"{name}: broker {leader['nodeId']} hands the lead over to broker {to}")


@APP.command()
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


@APP.command("bundle")
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
