"""What a broker learns of itself only while it runs: its rack, and where clients reach it.

Kubernetes knows them when the pod has been placed and its Services have addresses; somebody (the
operator) writes them to the pod, and the pod sees them as files of `pod.info.dir`:

    rack        zone-a
    advertised  outside=203.0.113.7:9094,inside=10.0.0.9:31094

A file that is missing, empty or unreadable tells nothing, and what nobody tells stays as the
cluster knows it: a restart while the operator is away changes nothing for anybody.

Read next: `registration`, which tells the cluster.
"""

from __future__ import annotations

import dataclasses
import logging
import pathlib
from collections.abc import Mapping

from quorate_broker import config
from quorate_broker.cluster.image import Broker
from quorate_broker.cluster.records import Endpoint

log = logging.getLogger(__name__)

LONGEST = 4096
"""Bytes of a file that are looked at."""


@dataclasses.dataclass(frozen=True, slots=True)
class Told:
    """What the files say."""

    rack: str = ""
    advertised: Mapping[str, config.Address] = dataclasses.field(default_factory=dict)


def read(folder: str) -> Told:
    """The files as they are now; an empty `folder` tells nothing."""
    if not folder:
        return Told()
    place = pathlib.Path(folder)
    return Told(_line(place / "rack"), _addresses(_line(place / "advertised")))


def rack(settings: config.Settings, told: Told, known: Broker | None) -> str | None:
    """Told, configured, or as the cluster knows it from before."""
    before = known.rack if known is not None and settings.pod_info_dir else None
    return told.rack or settings.rack or before


def endpoints(settings: config.Settings, told: Told, known: Broker | None) -> tuple[Endpoint, ...]:
    """Of every listener whose address is known. A client of another one is not told of us."""
    found = []
    for each in settings.listeners:
        if not each.is_told:
            address = each.advertised_address
            found.append(Endpoint(each.name, address.host, address.port))
        elif each.name in told.advertised:
            address = told.advertised[each.name]
            found.append(Endpoint(each.name, address.host, address.port))
        elif known is not None and (before := known.endpoint(each.name)) is not None:
            found.append(before)
    return tuple(found)


def _line(path: pathlib.Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(LONGEST).decode("utf-8").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        log.warning("cannot read %s: %s", path, error)
        return ""


def _addresses(text: str) -> dict[str, config.Address]:
    found = {}
    for part in filter(None, text.split(",")):
        name, _, address = part.partition("=")
        try:
            found[name.strip()] = config.parse_address(address.strip())
        except ValueError as error:
            log.warning("told of listener %s: %s", name, error)
    return found
