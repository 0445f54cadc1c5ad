"""One node: containerd with runc, kubelet, kube-proxy, each in the node's network namespace.

Settings that differ from a usual node, and why:
- oom scores and resource limits are never lowered or raised: the machine may lack CAP_SYS_RESOURCE;
- no cgroups per class of service: the cgroup mounts are left as the machine has them (v1 or v2);
- no resizing of pods in place: without those cgroups the kubelet dies of it (1.34);
- images are unpacked into memory, about 700 MB for three nodes: to remove their 40,000 files from a
  disk can take two minutes;
- a change of a ConfigMap is in its pods' files within 10 s, not a minute;
- a container that keeps failing is started again after 2 s at most, not 5 min, so that a test which
  kills the same pod again and again does not wait;
- containerd calls runc through `runc-unless-held`, which refuses to create containers of pods that
  a test keeps dead (see `holds.py`).
"""

import json
import shutil
import subprocess
from importlib import resources
from pathlib import Path

import yaml

from quorate_bed.local import daemons, holds, layout
from quorate_bed.progress import BedError

PKI = layout.HOME / "pki"
CNI_DIRECTORIES = ("/usr/lib/cni", "/opt/cni/bin")
SANDBOX_IMAGE = "quorate-pause:dev"


def start_runtime(node: layout.Node) -> subprocess.Popen[bytes]:
    """containerd; its sockets, state and images are in memory and go with the namespaces."""
    for directory in ("cni", "kubelet", "logs", "plugins"):
        (node.home / directory).mkdir(parents=True, exist_ok=True)
    (node.home / "cni" / "10-pods.conflist").write_text(json.dumps(_cni(node)))
    config = node.home / "containerd.toml"
    config.write_text(_containerd(node))
    return daemons.start(f"{node.name}.containerd", ["containerd", "--config", config], node=node)


def await_runtime(node: layout.Node, process: subprocess.Popen[bytes]) -> None:
    def up() -> bool:
        command = ["ctr", "--address", str(node.containerd), "version"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    daemons.await_true(f"{node.name}: containerd", up, process)


def start_kubelet(node: layout.Node, cgroup: str) -> subprocess.Popen[bytes]:
    config = node.home / "kubelet.yaml"
    config.write_text(yaml.safe_dump(_kubelet(node, cgroup)))
    return daemons.start(
        f"{node.name}.kubelet",
        [
            "kubelet",
            f"--config={config}",
            f"--kubeconfig={PKI / f'{node.name}.kubeconfig'}",
            f"--root-dir={node.home / 'kubelet'}",
            f"--hostname-override={node.name}",
            f"--node-ip={node.address}",
            f"--node-labels=topology.kubernetes.io/zone={node.zone}",
        ],
        node=node,
    )


def start_proxy(node: layout.Node) -> None:
    daemons.start(
        f"{node.name}.kube-proxy",
        [
            "kube-proxy",
            f"--kubeconfig={PKI / 'proxy.kubeconfig'}",
            f"--hostname-override={node.name}",
            f"--cluster-cidr={layout.POD_NETWORK}",
            "--proxy-mode=nftables",
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0",
            "--conntrack-udp-timeout=0",
            "--conntrack-udp-timeout-stream=0",
        ],
        node=node,
    )


def _cni(node: layout.Node) -> dict[str, object]:
    addresses = {
        "type": "host-local",
        "dataDir": "/run/cni-addresses",
        "ranges": [[{"subnet": node.pod_network}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    plugins: list[dict[str, object]] = [
        {"type": "ptp", "ipMasq": False, "ipam": addresses},
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    return {"cniVersion": "0.4.0", "name": f"pods-{node.name}", "plugins": plugins}


def _containerd(node: layout.Node) -> str:
    binaries = next((path for path in CNI_DIRECTORIES if Path(path, "ptp").exists()), None)
    if binaries is None:
        raise BedError(f"no CNI plugins in any of {', '.join(CNI_DIRECTORIES)}")
    runc = shutil.which("runc", path=daemons.SEARCH_PATH)
    if runc is None:
        raise BedError("no runc on the path")
    wrapper = layout.HOME / "runc-unless-held"
    template = resources.files("quorate_bed.local").joinpath("runc-unless-held.sh").read_text()
    wrapper.write_text(
        template.replace("@RUNC@", runc).replace("@HOLDS@", str(layout.HOME / holds.DIRECTORY))
    )
    wrapper.chmod(0o755)
    return f"""version = 2
root = "/run/containerd-{node.name}/root"
state = "/run/containerd-{node.name}/state"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = "{node.containerd}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/library/{SANDBOX_IMAGE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{binaries}"
    conf_dir = "{node.home}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      BinaryName = "{wrapper}"
      SystemdCgroup = false
"""


def _kubelet(node: layout.Node, cgroup: str) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node.address,
        "containerRuntimeEndpoint": f"unix://{node.containerd}",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(PKI / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup,
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "resolvConf": "/dev/null",
        "clusterDNS": [layout.DNS_ADDRESS],
        "clusterDomain": layout.DOMAIN,
        "podLogsDir": str(node.home / "logs"),
        "volumePluginDir": str(node.home / "plugins"),
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "featureGates": {"KubeletCrashLoopBackOffMax": True, "InPlacePodVerticalScaling": False},
        "crashLoopBackOff": {"maxContainerRestartPeriod": "2s"},
        "syncFrequency": "10s",
    }
