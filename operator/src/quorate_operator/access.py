"""How to reach the Kubernetes API, once for both clients: ours and kopf's.

In a pod: the mounted token, read again and again, since it is replaced about every hour. Elsewhere:
the kubeconfig named by KUBECONFIG, so that the operator can be run from a shell.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Final

import kopf
from kubernetes.aio import client, config

TOKEN_LIFE: Final = datetime.timedelta(minutes=5)
"""kopf asks again after this; a projected token is replaced long before it ends."""


async def configuration(environ: Mapping[str, str]) -> client.Configuration:
    found = client.Configuration()
    if environ.get("KUBERNETES_SERVICE_HOST"):
        config.load_incluster_config(client_configuration=found)  # type: ignore[no-untyped-call]
    else:
        file = environ.get("KUBECONFIG")
        await config.load_kube_config(file, client_configuration=found)  # type: ignore[no-untyped-call]
    return found


def connection(found: client.Configuration, now: datetime.datetime) -> kopf.ConnectionInfo:
    """The same for kopf, with the token of this moment."""
    if found.refresh_api_key_hook is not None:
        found.refresh_api_key_hook(found)
    scheme, _, token = str(found.api_key.get("BearerToken", "")).rpartition(" ")
    return kopf.ConnectionInfo(
        server=found.host,
        ca_path=found.ssl_ca_cert,
        insecure=not found.verify_ssl,
        certificate_path=found.cert_file,
        private_key_path=found.key_file,
        scheme=scheme.capitalize() or ("Bearer" if token else None),
        token=token or None,
        expiration=now + TOKEN_LIFE,
    )
