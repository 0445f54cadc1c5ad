"""CoreDNS beside the control plane, behind the usual kube-dns Service.

It runs as a process, not as a pod, so that no image is needed for it; the Service has no selector
and an EndpointSlice that leads to the control plane's address.
"""

import subprocess

from quorate_bed.local import daemons, layout
from quorate_bed.local.api import Api

HEALTH_PORT = 8181
COREFILE = f""".:53 {{
    bind {layout.CONTROL_ADDRESS}
    errors
    ready 127.0.0.1:{HEALTH_PORT}
    cache 5
    kubernetes {layout.DOMAIN} {{
        kubeconfig {layout.HOME}/pki/admin.kubeconfig
        ttl 2
    }}
}}
"""
PORTS = (("dns", "UDP"), ("dns-tcp", "TCP"))


def start() -> subprocess.Popen[bytes]:
    corefile = layout.HOME / "Corefile"
    corefile.write_text(COREFILE)
    return daemons.start("coredns", ["coredns", "-conf", corefile])


def await_ready(process: subprocess.Popen[bytes]) -> None:
    url = f"http://127.0.0.1:{HEALTH_PORT}/ready"
    daemons.await_true("coredns", lambda: daemons.answers(url), process)


def publish(api: Api) -> None:
    """The Service and its EndpointSlice."""
    metadata = {"name": "kube-dns", "labels": {"k8s-app": "kube-dns"}}
    ports = [{"name": name, "protocol": kind, "port": 53} for name, kind in PORTS]
    api.create(
        "/api/v1/namespaces/kube-system/services",
        {"metadata": metadata, "spec": {"clusterIP": layout.DNS_ADDRESS, "ports": ports}},
    )
    api.create(
        "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices",
        {
            "metadata": {
                "name": "kube-dns",
                "labels": {"kubernetes.io/service-name": "kube-dns"},
            },
            "addressType": "IPv4",
            "ports": ports,
            "endpoints": [{"addresses": [layout.CONTROL_ADDRESS], "conditions": {"ready": True}}],
        },
    )
