"""Put the operator and its definitions into a cluster, with Helm, as a user would."""

from quorate_bed import charts, cluster, images, kube
from quorate_bed.progress import step

NAMESPACE = "quorate-system"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


def install(target: cluster.Cluster) -> None:
    """Both charts are there and the operator runs the image that was built last."""
    with step("Helm: quorate-crds, quorate-operator"):
        kube.Kubectl(target, NAMESPACE).apply(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": NAMESPACE, "labels": RESTRICTED},
            }
        )
        common = ("--namespace", NAMESPACE, "--wait", "--timeout=3m")
        target.helm("upgrade", "--install", "quorate-crds", str(charts.CRDS), *common)
        target.helm(
            *("upgrade", "--install", "quorate-operator", str(charts.OPERATOR)),
            *("--set=image.tag=dev", "--set=brokerImage.tag=dev"),
            # One, so that what it counts can be read through its Service.
            "--set=replicas=1",
            "--set=readNodes=true",
            # A tag that stays the same rolls nothing out; a changed annotation does.
            f"--set-string=podAnnotations.quorate-bed/build={images.build_key('operator')}",
            *common,
        )


def ready(name: str, *, nodes: int = 1) -> cluster.Cluster:
    """A running cluster of that name with images and operator, whatever was there before."""
    target = cluster.connect(name)
    target.create(nodes=nodes)
    images.build_and_load(target)
    install(target)
    return target
