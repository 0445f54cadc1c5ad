"""Decisions about the cluster's settings, and single brokers' (`config.live` says what they mean).

They are kept as the texts that people wrote. All that a command asks for is checked together, here
on the leader, before any of it is written: one bad setting, and nothing changes.
Read next: `image`.
"""

from __future__ import annotations

from quorate_broker.cluster import commands, records
from quorate_broker.cluster.image import Image
from quorate_broker.cluster.topics import Decision
from quorate_broker.config import live
from quorate_broker.errors import ErrorCode, KafkaError

MAX_SETTINGS = 512
MAX_TEXT = 4096


def change(image: Image, command: commands.ChangeSettings) -> Decision:
    """Set some, and leave others alone again; writes nothing where nothing changes."""
    version = image.settings_version
    if command.seed and version:
        return [], commands.SettingsResult(version)
    if command.node_id and image.member(command.node_id) is None:
        raise KafkaError(ErrorCode.RESOURCE_NOT_FOUND, f"there is no broker {command.node_id}")
    before = dict(image.settings.get(command.node_id, {}))
    wanted = {} if command.replace else dict(before)
    for name in command.drop:
        wanted.pop(name, None)
    wanted |= command.put
    problems = live.problems(wanted, before, one_broker=command.node_id != 0)
    for name, text in command.put.items():
        if len(name) > MAX_TEXT or len(text) > MAX_TEXT:
            problems[name] = f"is longer than {MAX_TEXT} characters"
    if len(wanted) > MAX_SETTINGS:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"more than {MAX_SETTINGS} settings")
    if command.seed:  # a file that was read once is right as far as this version can tell
        wanted = {name: text for name, text in wanted.items() if name not in problems}
        problems = {}
    if problems or command.validate_only or (wanted == before and not command.seed):
        return [], commands.SettingsResult(version, problems)
    changed = records.SettingsChanged(command.node_id, wanted)
    return [changed], commands.SettingsResult(version + 1)
