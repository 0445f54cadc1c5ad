"""The command line; first of all it puts itself into namespaces of its own. Read next: `runner`."""

from __future__ import annotations

import argparse
import os
import pathlib
import random
import shutil
import sys
import tempfile

from quorate_broker.testing import repository
from quorate_broker.testing.chaos import availability, report, slowness
from quorate_broker.testing.chaos.faults import FAULTS
from quorate_broker.testing.chaos.runner import Plan, Run

TOOLS = ("ip", "nft", "iptables", "unshare", "nsenter", "setpriv", "mkfs.ext4", "mount", "fsfreeze")
INSIDE = "QUORATE_CHAOS_INSIDE"


def main(arguments: list[str]) -> int:
    """0: no violation. 1: some. 2: this machine cannot."""
    options = _parse(arguments)
    lacking = [tool for tool in TOOLS if shutil.which(tool) is None]
    if os.geteuid() != 0 or lacking:
        print(f"needs root and {', '.join(TOOLS)}; not here: {lacking}", file=sys.stderr)
        return 2
    if os.environ.get(INSIDE) != "1":
        _enter_own_namespaces(arguments)
    del os.environ[INSIDE]
    folder = _folder(options.dir)
    if options.availability:
        print(availability.table(availability.measure(folder, options.availability)))
        return 0
    if options.slow_disk:
        print(slowness.measure(folder, options.slow_disk).table())
        return 0
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    kinds = tuple(options.faults.split(",")) if options.faults else _possible()
    plan = Plan(seed, options.minutes, kinds, live_within_s=options.live_within)
    print(f"seed {seed}, everything in {folder}")
    result = Run(plan, folder).run()
    target = pathlib.Path(options.report or folder / "report.html")
    target.write_text(report.page(result), encoding="utf-8")
    print(report.summary(result))
    print(f"report: {target}")
    return 1 if result.violations else 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos", description="Faults on real processes.")
    parser.add_argument("--minutes", type=float, default=2, help="how long (2)")
    parser.add_argument("--seed", type=int, help="the same faults at the same times of one draw")
    parser.add_argument("--faults", default="", help=f"some of {', '.join(FAULTS)}")
    parser.add_argument("--live-within", type=float, default=10, help="seconds to serve again (10)")
    parser.add_argument("--availability", type=int, default=0, metavar="ROUNDS", help="only that")
    parser.add_argument("--slow-disk", type=float, default=0, metavar="SECONDS", help="only that")
    parser.add_argument("--dir", help="where disks, logs and history go (a new one)")
    parser.add_argument("--report", help="the HTML report (DIR/report.html)")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.faults.split(",")) - {""} - set(FAULTS))
    if unknown:
        parser.error(f"no such fault: {', '.join(unknown)}")
    return options


def _possible() -> tuple[str, ...]:
    """All that this checkout can do."""
    if repository.has(repository.PREVIOUS):
        return tuple(FAULTS)
    print(f"no mixed versions: this clone is too shallow to have {repository.PREVIOUS}")
    return tuple(kind for kind in FAULTS if kind != "mixed-versions")


def _enter_own_namespaces(arguments: list[str]) -> None:
    """Never returns. Mounts, links and loop devices end with the process."""
    os.environ[INSIDE] = "1"
    command = ["unshare", "--mount", "--net", "--propagation", "private", sys.executable]
    os.execvp(command[0], [*command, "-m", "quorate_broker.testing.chaos", *arguments])


def _folder(wanted: str | None) -> pathlib.Path:
    """A new folder; the disk images of runs that were killed are thrown away first."""
    place = pathlib.Path(tempfile.gettempdir())
    for image in place.glob("quorate-chaos-*/*.img"):
        owner = image.parent.name.split("-")[2]
        if not pathlib.Path("/proc", owner).exists():
            image.unlink()
    if wanted is None:
        return pathlib.Path(tempfile.mkdtemp(prefix=f"quorate-chaos-{os.getpid()}-"))
    folder = pathlib.Path(wanted).resolve()
    folder.mkdir(parents=True)
    return folder


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
