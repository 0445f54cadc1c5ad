"""A storage provisioner whose volumes are real file systems of the size that was asked for.

Each claim gets a sparse file with an XFS on it, mounted over a loop device and handed to
Kubernetes as a `local` volume. So `fsGroup` works (hostPath volumes ignore it), a full disk is a
real ENOSPC, and a claim that grows is a real growth, done online (ext4 would ask
for CAP_SYS_RESOURCE there). Twice a second it compares what
is with what should be; it keeps no state of its own but the files.

A claim is served when the scheduler has chosen its node (the class waits for the first consumer).
"""

import re
from pathlib import Path

from quorate_bed.local.api import Api, ApiError, Object
from quorate_bed.shell import run

CLASS = "local"
PROVISIONER = "bed.quorate.dev/local"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
CLAIMS = "/api/v1/persistentvolumeclaims"
VOLUMES = "/api/v1/persistentvolumes"
UNITS = {
    "": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50,
}  # fmt: skip
SMALLEST_BYTES = 16 << 20  # of an XFS
LARGE_BYTES = 300 << 20


def publish(api: Api) -> None:
    """The default StorageClass."""
    api.create(
        "/apis/storage.k8s.io/v1/storageclasses",
        {
            "metadata": {
                "name": CLASS,
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
            "provisioner": PROVISIONER,
            "volumeBindingMode": "WaitForFirstConsumer",
            "allowVolumeExpansion": True,
            "reclaimPolicy": "Delete",
        },
    )


def size_bytes(quantity: str) -> int:
    """Bytes of a Kubernetes quantity such as 10Gi or 1.5G."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kMGTP]|[KMGTP]i)?", quantity)
    if match is None:
        raise ValueError(f"{quantity!r} is no size")
    number, unit = match.groups()
    return (
        int(float(number) * UNITS[unit or ""]) if "." in number else int(number) * UNITS[unit or ""]
    )


class Provisioner:
    """`step` once is one look at all claims and volumes."""

    def __init__(self, api: Api, directory: Path) -> None:
        self._api = api
        self._directory = directory
        self._directory.mkdir(parents=True, exist_ok=True)

    def reconnect(self) -> None:
        self._api.close()

    def step(self) -> None:
        claims = self._api.get(CLAIMS)["items"]
        volumes = {
            volume["metadata"]["name"]: volume
            for volume in self._api.get(VOLUMES)["items"]
            if volume["metadata"].get("annotations", {}).get(PROVISIONED_BY) == PROVISIONER
        }
        for claim in claims:
            name = f"pvc-{claim['metadata']['uid']}"
            if wanted(claim) and name not in volumes:
                self._provision(claim, name)
            elif name in volumes and grows(claim, volumes[name]):
                self._grow(claim, volumes[name])
        for volume in volumes.values():
            if volume["status"].get("phase") == "Released":
                self._remove(volume)

    def _provision(self, claim: Object, name: str) -> None:
        metadata, spec = claim["metadata"], claim["spec"]
        size = max(size_bytes(spec["resources"]["requests"]["storage"]), SMALLEST_BYTES)
        image, mount = self._image(name), self._mount(name)
        if not mount.is_mount():
            mount.mkdir(parents=True, exist_ok=True)
            with image.open("wb") as file:
                file.truncate(size)
            # A log of 16 MiB is quickly written; without --unsupported 300 MB is the least.
            log = ["-l", "size=16m"] if size >= LARGE_BYTES else []
            run(["mkfs.xfs", "-q", "--unsupported", *log, image])
            run(["mount", "-o", "loop", image, mount])
        affinity = {"key": "kubernetes.io/hostname", "operator": "In"}
        node = metadata["annotations"][SELECTED_NODE]
        claim_ref = {"kind": "PersistentVolumeClaim", "apiVersion": "v1", "uid": metadata["uid"]}
        claim_ref |= {"namespace": metadata["namespace"], "name": metadata["name"]}
        self._api.create(
            VOLUMES,
            {
                "metadata": {"name": name, "annotations": {PROVISIONED_BY: PROVISIONER}},
                "spec": {
                    "capacity": {"storage": spec["resources"]["requests"]["storage"]},
                    "accessModes": spec["accessModes"],
                    "persistentVolumeReclaimPolicy": "Delete",
                    "storageClassName": spec["storageClassName"],
                    "claimRef": claim_ref,
                    "local": {"path": str(mount)},
                    "nodeAffinity": {
                        "required": {
                            "nodeSelectorTerms": [
                                {"matchExpressions": [{**affinity, "values": [node]}]}
                            ]
                        }
                    },
                },
            },
        )

    def _grow(self, claim: Object, volume: Object) -> None:
        name = volume["metadata"]["name"]
        asked = claim["spec"]["resources"]["requests"]["storage"]
        with self._image(name).open("r+b") as file:
            file.truncate(size_bytes(asked))
        mount = self._mount(name)
        device = run(["findmnt", "-n", "-o", "SOURCE", mount]).strip()
        run(["losetup", "-c", device])
        run(["xfs_growfs", mount])
        self._api.patch(f"{VOLUMES}/{name}", {"spec": {"capacity": {"storage": asked}}})
        metadata = claim["metadata"]
        self._api.patch(
            f"/api/v1/namespaces/{metadata['namespace']}/persistentvolumeclaims/"
            f"{metadata['name']}/status",
            {"status": {"capacity": {"storage": asked}, "conditions": []}},
        )

    def _remove(self, volume: Object) -> None:
        name = volume["metadata"]["name"]
        mount = self._mount(name)
        if mount.is_mount():
            run(["umount", mount])
        self._image(name).unlink(missing_ok=True)
        if mount.exists():
            mount.rmdir()
        try:
            self._api.delete(f"{VOLUMES}/{name}")
        except ApiError as error:
            if error.status != 404:
                raise

    def _image(self, name: str) -> Path:
        return self._directory / f"{name}.img"

    def _mount(self, name: str) -> Path:
        return self._directory / name


def wanted(claim: Object) -> bool:
    """A claim of our class without a volume, whose node the scheduler has chosen."""
    metadata = claim["metadata"]
    return (
        claim["spec"].get("storageClassName") == CLASS
        and not claim["spec"].get("volumeName")
        and "deletionTimestamp" not in metadata
        and SELECTED_NODE in metadata.get("annotations", {})
    )


def grows(claim: Object, volume: Object) -> bool:
    """A bound claim that asks for more than its volume has."""
    asked = size_bytes(claim["spec"]["resources"]["requests"]["storage"])
    return claim["status"].get("phase") == "Bound" and asked > size_bytes(
        volume["spec"]["capacity"]["storage"]
    )
