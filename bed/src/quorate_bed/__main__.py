"""`quorate-bed`: what the Makefile calls. Each command does all its own set-up.

Read the functions from top to bottom: cluster, images, demo, tests.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from quorate_bed import cluster as clusters
from quorate_bed import demo as demos
from quorate_bed import images, install, paths, suite
from quorate_bed.progress import BedError, console
from quorate_bed.shell import CommandError

app = typer.Typer(
    help="The Kubernetes that Quorate's demo and tests run on.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
NAME = typer.Option(clusters.DEFAULT_NAME, "--name", help="The cluster's name.")
NODES = typer.Option(1, help="How many nodes, where it is made anew.")


@app.command()
def up(name: str = NAME, nodes: int = NODES) -> None:
    """Bring an empty cluster up; a running one is kept."""
    clusters.connect(name).create(nodes=nodes)


@app.command()
def cluster(name: str = NAME, nodes: int = NODES) -> None:
    """A cluster with the project's images, definitions and operator, and no resource yet."""
    ready = install.ready(name, nodes=nodes)
    console.print(f"\nexport KUBECONFIG={ready.kubeconfig_path}")
    console.print(f"export PATH={paths.cache() / 'bin'}:$PATH")
    console.print("kubectl apply -f examples/quickstart.yaml")


@app.command()
def down(name: str = NAME) -> None:
    """Remove the cluster and everything that belongs to it."""
    clusters.connect(name).delete()
    console.print(f"the cluster {name!r} is gone")


@app.command()
def kubeconfig(name: str = NAME) -> None:
    """Print the path of a kubeconfig that works from an ordinary shell."""
    cluster = clusters.connect(name)
    if not cluster.exists():
        raise BedError(f"the cluster {name!r} does not run: make cluster brings it up")
    print(cluster.kubeconfig_path)


@app.command()
def load(name: str = NAME) -> None:
    """Build the images whose inputs changed and put them into the cluster."""
    images.build_and_load(clusters.connect(name))


@app.command("images")
def build_images() -> None:
    """Packages, binaries and the images whose inputs changed, without a cluster."""
    images.build_all()


@app.command("test")
def run_tests(
    parts: Annotated[list[str] | None, typer.Argument(help="Parts; all of them without.")] = None,
    full: Annotated[bool, typer.Option("--full", help="The long ones too.")] = False,
) -> None:
    """Run the tests, or the parts that are named."""
    if not suite.run(parts or [], full=full):
        sys.exit(1)


@app.command()
def demo(name: str = NAME) -> None:
    """Show everything: a cluster, records in and out, the leader killed."""
    demos.show(name)


@app.command()
def context(image: str, directory: Path) -> None:
    """Write an image's build context, for a docker build by hand."""
    if image not in images.IMAGES:
        raise BedError(f"no image {image!r}; there are {', '.join(images.IMAGES)}")
    images.make_context(images.IMAGES[image], directory)
    console.print(f"docker build -f {images.IMAGES[image].dockerfile} {directory}")


def main() -> None:
    """The console script: a BedError is a sentence for a person, not a traceback."""
    try:
        app()
    except (BedError, CommandError) as error:
        console.print(f"[bold red]Cannot go on:[/] {error}", style=None)
        sys.exit(1)


if __name__ == "__main__":
    main()
