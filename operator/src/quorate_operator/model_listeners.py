"""Listeners as a person writes them. What is made of them: `listening.py`."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field

from quorate_operator.model_base import (
    ATOMIC,
    TAKEN_KEYS,
    Free,
    MetadataValue,
    Model,
    rule,
    rules,
)

ADMIN_PORT: Final = 9644
METRICS_PORT: Final = 9645
PROXY_PORT: Final = 8082
RPC_PORT: Final = 33145

_EXTERNAL: Final = "(has(self.type) && self.type != 'internal')"


class Authentication(Model):
    """How clients prove who they are."""

    type: Literal["none"] = Field(description="`none`: whoever reaches the port may do everything.")


class Advertised(Model):
    """What clients of this listener are told instead of the address that the operator finds."""

    host_template: Annotated[str, Field(min_length=1, max_length=253)] | None = Field(
        default=None,
        description=(
            "For example broker-{nodeId}.kafka.example.com. May hold {nodeId}, {ordinal}, {pod},"
            " {cluster} and {namespace}."
        ),
        json_schema_extra=rules(
            rule(
                "self.matches('^([-.:a-zA-Z0-9]|[{](nodeId|ordinal|pod|cluster|namespace)[}])+$')",
                "advertised.hostTemplate is a host name or an address, with {nodeId}, {ordinal},"
                " {pod}, {cluster} and {namespace} for what differs",
            )
        ),
    )
    port_template: Annotated[str, Field(min_length=1, max_length=32)] | None = Field(
        default=None,
        description="For example 94{nodeId}. May hold {nodeId} and {ordinal}.",
        json_schema_extra=rules(
            rule(
                "self.matches('^([0-9]|[{](nodeId|ordinal)[}])+$')"
                " && int(self.replace('{nodeId}', '99').replace('{ordinal}', '98')) <= 65535",
                "advertised.portTemplate is a port of at most 65535 for every broker from 1 to 99,"
                " with {nodeId} or {ordinal} for what differs",
            )
        ),
    )


class Listener(Model):
    """One port on which every broker speaks the Kafka protocol."""

    name: str = Field(
        min_length=1,
        max_length=15,
        description="Of the listener, of its port, and within the names of its Services.",
        pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$",
        json_schema_extra=rules(
            rule(
                "!(self in ['admin', 'proxy', 'rpc', 'metrics'])",
                "a listener cannot be called admin, proxy, rpc or metrics: these are the brokers'"
                " own ports",
            )
        ),
    )
    port: int = Field(
        ge=1024,
        le=65535,
        description="Of every broker, and of the Services.",
        json_schema_extra=rules(
            rule(
                f"!(self in [{ADMIN_PORT}, {METRICS_PORT}, {PROXY_PORT}, {RPC_PORT}])",
                f"ports {ADMIN_PORT}, {METRICS_PORT}, {PROXY_PORT} and {RPC_PORT} are taken by the"
                " Admin API, the metrics, the HTTP Proxy and the brokers' own traffic: choose"
                " another one",
            )
        ),
    )
    type: Literal["internal", "nodeport", "loadbalancer", "clusterIP"] = Field(
        default="internal",
        description=(
            "`internal`: by the pods' own names. Each of the others makes a Service per broker and"
            " one to begin with."
        ),
    )
    authentication: Authentication | None = Field(
        default=None,
        description="How clients prove who they are. It has to be named, also when open.",
    )
    advertised: Advertised | None = None
    annotations: dict[str, MetadataValue] = Field(
        default={},
        max_length=32,
        description=(
            "Of the Services of this listener. {nodeId}, {ordinal}, {pod}, {cluster} and"
            " {namespace} are filled in; one that differs by broker is left off the Service to"
            " begin with."
        ),
        json_schema_extra=TAKEN_KEYS,
    )
    network_policy_peers: list[Free] = Field(
        default=[],
        max_length=32,
        description="Who may reach the port, as in a NetworkPolicy. Default: everybody.",
        json_schema_extra=ATOMIC,
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.authentication)",
                "a listener has to name its authentication: write `authentication: {type: none}`"
                " for one that is open to everybody who reaches it",
            ),
            rule(
                f"{_EXTERNAL} || !has(self.annotations)",
                "annotations go onto the Services of a listener, and an internal one has none of"
                " its own: use template.service",
            ),
            rule(
                f"!{_EXTERNAL} || self.name.size() <= 11",
                "the name of a listener with Services of its own has at most 11 characters: names"
                " of Services are made from it",
            ),
        )
    )
