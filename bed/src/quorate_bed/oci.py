"""Images as files: the OCI image layout, read and written without a container engine.

All images of the test bed share one layout directory, so that a base layer is stored once. To load
an image, a node is given only the blobs that it lacks (`thin_archive`): after a change of our own
code that is one layer of some hundred kilobytes instead of an image of a hundred megabytes.
Digests are strings such as "sha256:…".
"""

import contextlib
import hashlib
import io
import json
import platform
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from quorate_bed.progress import BedError

REFERENCE = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Image:
    """One image in a layout directory; `blobs` are its manifest, its config and its layers."""

    directory: Path
    reference: str
    manifest: Json
    blobs: tuple[str, ...]

    @property
    def manifest_digest(self) -> str:
        return str(self.manifest["digest"])

    def blob(self, digest: str) -> Path:
        return self.directory / "blobs" / digest.replace(":", "/")


@dataclass(frozen=True, slots=True)
class Layout:
    """A layout directory."""

    directory: Path

    def find(self, reference: str) -> Image:
        """The image of that name, such as docker.io/library/quorate-broker:dev."""
        index: Json = json.loads((self.directory / "index.json").read_text())
        for entry in index["manifests"]:
            if entry.get("annotations", {}).get(REFERENCE) == reference:
                digest: str = entry["digest"]
                path = self.directory / "blobs" / digest.replace(":", "/")
                manifest: Json = json.loads(path.read_text())
                parts = [manifest["config"], *manifest["layers"]]
                blobs = (digest, *(part["digest"] for part in parts))
                return Image(self.directory, reference, entry, blobs)
        raise BedError(f"no image {reference} in {self.directory}")

    def prune(self) -> None:
        """Remove what no name leads to any more: manifests of older builds, and their blobs."""
        index: Json = json.loads((self.directory / "index.json").read_text())
        named = [one for one in index["manifests"] if REFERENCE in one.get("annotations", {})]
        needed = {blob for one in named for blob in self.find(one["annotations"][REFERENCE]).blobs}
        (self.directory / "index.json").write_text(json.dumps({**index, "manifests": named}))
        for path in (self.directory / "blobs" / "sha256").iterdir():
            if f"sha256:{path.name}" not in needed:
                path.unlink()


@contextlib.contextmanager
def thin_archive(image: Image, present: Set[str]) -> Iterator[IO[bytes]]:
    """An archive of the image with only those blobs that are not in `present`."""
    manifest = {
        "mediaType": image.manifest["mediaType"],
        "digest": image.manifest_digest,
        "size": image.manifest["size"],
        "annotations": {CONTAINERD_NAME: image.reference, REFERENCE: image.reference},
    }
    with tempfile.TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            _add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
            index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest]}
            _add(tar, "index.json", json.dumps(index).encode())
            for digest in dict.fromkeys(image.blobs):
                # A manifest is small and is what the importer starts from: it is always there.
                if digest not in present or digest == image.manifest_digest:
                    tar.add(image.blob(digest), f"blobs/{digest.replace(':', '/')}")
        file.seek(0)
        yield file


def write_single_layer(path: Path, reference: str, layer: bytes, config: Mapping[str, Any]) -> None:
    """An archive of an image with one layer (an uncompressed tar) that was made by hand."""
    machine = platform.machine()
    content = {
        "architecture": ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "config": dict(config),
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    blobs: dict[str, bytes] = {}

    def describe(kind: str, data: bytes) -> Json:
        blobs[_digest(data)] = data
        return {"mediaType": kind, "digest": _digest(data), "size": len(data)}

    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": describe(CONFIG, json.dumps(content).encode()),
        "layers": [describe(LAYER, layer)],
    }
    entry = describe(MANIFEST, json.dumps(manifest).encode())
    entry["annotations"] = {CONTAINERD_NAME: reference, REFERENCE: reference}
    with tarfile.open(path, "w") as tar:
        _add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
        _add(tar, "index.json", json.dumps(index).encode())
        for digest, data in blobs.items():
            _add(tar, f"blobs/{digest.replace(':', '/')}", data)


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o644
    tar.addfile(info, io.BytesIO(content))
