"""Build the project's images, with Docker where it answers and with buildah elsewhere.

The Dockerfiles are ordinary ones. What they copy is prepared outside, in a context directory: the
locked dependencies unpacked for the image's Python, and our own wheel apart from them, so that a
change of our code rebuilds the last layers only. An image is built again only when the hash of its
inputs changes; its reference stays the same.
"""

import os
import platform
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from quorate_bed import base, binaries, cluster, debian, oci, paths
from quorate_bed.progress import step
from quorate_bed.shell import run

PYTHON = "3.13"
PLATFORM = f"{platform.machine()}-manylinux_2_28"
REGISTRY = "docker.io/library"
SCRIPT = """#!/opt/quorate/bin/python3
import sys

from {package}.__main__ import main

sys.exit(main())
"""
EPOCH_S = 1_700_000_000  # layers are compared by content and time, so every file gets one time


@dataclass(frozen=True, slots=True)
class Image:
    """One image of the project. `package` is empty where there is no code of our own in it."""

    name: str
    dockerfile: str
    project: str
    package: str
    tag: str = "quorate-{name}:dev"
    on: str = ""
    """The image of which it is only one layer more."""

    @property
    def short(self) -> str:
        return self.tag.format(name=self.name)

    @property
    def reference(self) -> str:
        return f"{REGISTRY}/{self.short}"


IMAGES = {
    image.name: image
    for image in (
        Image("broker", "broker/Dockerfile", "quorate-broker", "quorate_broker"),
        Image("older", "bed/older/Dockerfile", "", "", "quorate-broker:older", on="broker"),
        Image("operator", "operator/Dockerfile", "quorate-operator", "quorate_operator"),
        Image("client", "bed/client/Dockerfile", "quorate-bed", ""),
    )
}


def build_and_load(target: cluster.Cluster, names: tuple[str, ...] = tuple(IMAGES)) -> None:
    """Every image of these names is in every node afterwards."""
    for name in names:
        archive = build(IMAGES[name])
        with step(f"Load {IMAGES[name].reference.rpartition('/')[2]}") as shown:
            if not target.load_image(archive, IMAGES[name].reference):
                shown.note = "already there"


def build_all() -> None:
    """All that a cluster needs is in the cache: packages, binaries, images."""
    if cluster.provider_name() == "local":
        debian.install(debian.CLUSTER)
        binaries.kubernetes()
    for image in IMAGES.values():
        build(image)


def build(image: Image) -> Path:
    """The layout directory (local) or the archive (Docker) that holds the image."""
    if cluster.provider_name() == "kind":
        return _build_with_docker(image)
    debian.install(debian.IMAGES)
    if image.on:
        build(IMAGES[image.on])
    root = f"localhost/{IMAGES[image.on].short}" if image.on else base.image()
    stamp = _stamp(image.name)
    layout = paths.cache() / "images" / "layout"
    key = _key(image, root)
    if not (stamp.exists() and stamp.read_text() == key and _in_layout(layout, image)):
        with step(f"Build {image.short}"):
            context = make_context(image, paths.cache() / "contexts" / image.name)
            base.buildah(
                *("bud", "--layers", "--isolation=chroot", "--network=host", "--pull-never"),
                *("--build-arg", f"BASE={root}", "--tag", image.short),
                *("--file", paths.REPOSITORY / image.dockerfile, context),
            )
            layout.parent.mkdir(exist_ok=True)
            source = f"localhost/{image.short}"
            base.buildah("push", "-q", "-D", source, f"oci:{layout}:{image.reference}")
            oci.Layout(layout).prune()
            stamp.write_text(key)
    return layout


def build_key(name: str) -> str:
    """What the image of that name was last built from."""
    return _stamp(name).read_text()


def _stamp(name: str) -> Path:
    return paths.cache() / "images" / f"{name}.key"


def make_context(image: Image, directory: Path) -> Path:
    """Write the image's build context to `directory`; an older one is replaced."""
    if directory.exists():
        shutil.rmtree(directory)
    directory.mkdir(parents=True)
    if image.project:
        _copy_tree(_dependencies(image), directory / "dependencies")
    if image.package:
        _install(directory / "package", [str(paths.REPOSITORY / image.package.split("_")[1])])
        script = directory / "bin" / image.project
        script.parent.mkdir()
        script.write_text(SCRIPT.format(package=image.package))
        script.chmod(0o755)
    for path in [directory, *directory.rglob("*")]:
        os.utime(path, (EPOCH_S, EPOCH_S), follow_symlinks=False)
    return directory


def _build_with_docker(image: Image) -> Path:
    if image.on:
        _build_with_docker(IMAGES[image.on])
    archive = paths.cache() / "images" / f"{image.name}.docker.tar"
    stamp = _stamp(image.name)
    key = _key(image, "docker")
    if not (archive.exists() and stamp.exists() and stamp.read_text() == key):
        with step(f"Build {image.short} with Docker"):
            context = make_context(image, paths.cache() / "contexts" / image.name)
            dockerfile = paths.REPOSITORY / image.dockerfile
            under = ["--build-arg", f"BASE={IMAGES[image.on].short}"] if image.on else []
            command = ["docker", "build", "--tag", image.short, "--file", dockerfile, *under]
            run([*command, context], timeout_s=1800)
            archive.parent.mkdir(exist_ok=True)
            run(["docker", "save", "--output", archive, image.short])
            stamp.write_text(key)
    return archive


def _key(image: Image, root: str) -> str:
    """A hash of everything that goes into the image."""
    files = [paths.REPOSITORY / image.dockerfile]
    if image.package:
        files += list(_sources(paths.REPOSITORY / image.package.split("_")[1]))
    if image.on:
        return paths.hash_files(files, paths.REPOSITORY, _key(IMAGES[image.on], root))
    recipe = (SCRIPT, PYTHON, PLATFORM, root, _requirements(image))
    return paths.hash_files(files, paths.REPOSITORY, *recipe)


def _sources(member: Path) -> Iterator[Path]:
    yield member / "pyproject.toml"
    for path in (member / "src").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
            yield path


def _requirements(image: Image) -> str:
    """The locked third-party packages, one a line, without comments."""
    command = [binaries.uv(), "export", "-q", "--frozen", "--no-emit-workspace", "--no-header"]
    command += ["--no-hashes", "--no-annotate", "--package", image.project]
    command += ["--no-dev"] if image.package else ["--only-group", "client"]
    return run(command, directory=paths.REPOSITORY)


def _dependencies(image: Image) -> Path:
    """A directory with the locked packages unpacked, from the cache where it is there."""
    wanted = _requirements(image)
    directory = paths.cache() / "dependencies" / paths.hash_files([], paths.REPOSITORY, wanted)
    if not directory.exists():
        temporary = directory.with_name(f"{directory.name}.{os.getpid()}")
        requirements = temporary.with_suffix(".txt")
        requirements.parent.mkdir(exist_ok=True)
        requirements.write_text(wanted)
        _install(temporary, ["--requirement", str(requirements)])
        requirements.unlink()
        temporary.rename(directory)
    return directory


def _install(target: Path, what: list[str]) -> None:
    """Unpack wheels for the image's Python, whatever Python runs here."""
    only = [
        "--no-deps",
        "--link-mode=copy",
        "--python-version",
        PYTHON,
        "--python-platform",
        PLATFORM,
    ]
    run([binaries.uv(), "pip", "install", "-q", "--target", target, *only, *what], timeout_s=900)
    shutil.rmtree(target / "bin", ignore_errors=True)  # their first line names a Python of here
    for record in target.glob("*.dist-info/RECORD"):
        kept = [
            line for line in record.read_text().splitlines() if not re.match(r"\.\./|bin/", line)
        ]
        record.write_text("\n".join(kept) + "\n")


def _copy_tree(source: Path, target: Path) -> None:
    """Linked where the file system can: a copy of 70 MB is the slowest part of a context."""
    shutil.copytree(source, target, copy_function=os.link)


def _in_layout(layout: Path, image: Image) -> bool:
    try:
        oci.Layout(layout).find(image.reference)
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it is built again
        return False
    return True
