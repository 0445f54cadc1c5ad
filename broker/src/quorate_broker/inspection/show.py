"""Prints a report for people, with rich: what there is first, what is wrong last and in red."""

from __future__ import annotations

import datetime
import json
import sys
from typing import Literal

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from quorate_broker.inspection.facts import Group, Report, Segment

_PIPED_WIDTH = 160


def tell(report: Report, *, as_json: bool) -> None:
    """On stdout: for people, or as JSON."""
    if not as_json:
        width = None if sys.stdout.isatty() else _PIPED_WIDTH
        show(report, Console(highlight=False, width=width, file=sys.stdout))
        return
    known = msgspec.to_builtins(report) | {"all_damage": report.all_damage}
    sys.stdout.write(json.dumps(known, indent=2) + "\n")


def show(report: Report, console: Console) -> None:
    """Everything, and a closing line that says whether it is sound."""
    console.print(f"[bold]{escape(report.path)}[/]: a {report.kind}")
    if report.held_by is not None:
        console.print(
            f"[yellow]in use by process {report.held_by}[/]: a picture of this moment, and what is "
            "being written may look torn"
        )
    _show_node(report, console)
    for group in report.groups:
        _show_group(group, console)
    if report.segment is not None:
        _show_segments([report.segment], console)
    if report.retired:
        console.print(f"retired: {', '.join(map(escape, report.retired))}")
    for note in report.notes:
        console.print(f"[yellow]note[/] {escape(note)}")
    damage = report.all_damage
    for text in damage:
        console.print(f"[red]damage[/] {escape(text)}")
    console.print(f"[red]{len(damage)} damaged[/]" if damage else "[green]no damage found[/]")


def _show_node(report: Report, console: Console) -> None:
    node = report.node
    if node is not None:
        cluster = node["cluster_id"] or "none yet"
        console.print(
            f"node {node['node_id']}, incarnation {escape(node['incarnation'])}, "
            f"cluster {escape(cluster)}, phase {escape(node['phase'])}"
        )
    if report.journal is not None:
        console.print(f"votes of {len(report.journal)} groups in the journal")


def _show_group(group: Group, console: Console) -> None:
    console.print()
    vote = f", voted for {group.vote}" if group.vote else ""
    term = f" term {group.term}{vote}" if group.term is not None else " no term in the journal"
    console.print(f"[bold]{escape(group.name)}[/]{term}")
    known = group.checkpoint
    if known is not None:
        console.print(
            f"  checkpoint: offsets {known['start_offset']} to {known['next_offset']}, indexes "
            f"{known['first_index']} to {known['last_index']}, {len(known['terms'])} terms, "
            f"{known['internal_entries']} internal entries, cleaned to {known['clean_to']}"
        )
        if known["hollow"]:
            console.print("  [yellow]hollow[/]: not filled yet, so it has no vote")
    if group.membership is not None:
        parts = [f"voters {group.membership['voters']}"]
        parts += [f"{name} {group.membership[name]}" for name in ("outgoing", "learners")]
        console.print(
            escape("  members: " + ", ".join(part for part in parts if part[-2:] != "[]"))
        )
    if group.state is not None:
        console.print(f"  state: {group.state['bytes']} bytes at index {group.state['index']}")
    if group.segments:
        _show_segments(group.segments, console)
    for note in group.notes:
        console.print(f"  [yellow]note[/] {escape(note)}")


def _show_segments(segments: list[Segment], console: Console) -> None:
    table = Table(box=None, pad_edge=True)
    table.add_column("segment", no_wrap=True)
    columns = ("offsets", "batches", "records", "terms", "bytes", "file", "producers", "newest")
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict")
    for segment in segments:
        verdict = "[red]damaged[/]" if segment.damage else "[green]sound[/]"
        table.add_row(
            segment.name,
            _span(segment.base_offset, segment.next_offset - 1),
            str(segment.batches),
            str(segment.records),
            _span(segment.first_term, segment.last_term),
            str(segment.entry_bytes),
            str(segment.file_bytes),
            str(len(segment.producers)),
            _time(segment.max_timestamp),
            verdict,
        )
    console.print(table)
    for segment in segments:
        for note in segment.notes:
            console.print(f"  [yellow]note[/] {segment.name}: {escape(note)}")
        if segment.listed:
            _show_batches(segment, console)


def _show_batches(segment: Segment, console: Console) -> None:
    table = Table(title=segment.name, box=None, title_justify="left")
    columns = ("at", "bytes", "offsets", "index", "term", "kind", "count", "codec", "producer")
    for name in (*columns, "time"):
        side: Literal["left", "right"] = "left" if name in ("kind", "codec") else "right"
        table.add_column(name, justify=side, no_wrap=True)
    for batch in segment.listed:
        producer = ""
        if batch.producer_id >= 0:
            producer = f"{batch.producer_id}/{batch.producer_epoch} #{batch.base_sequence}"
        table.add_row(
            str(batch.position),
            str(batch.size),
            _span(batch.base_offset, batch.last_offset),
            "" if batch.index is None else str(batch.index),
            str(batch.term),
            batch.kind,
            str(batch.count),
            batch.codec,
            producer,
            _time(batch.max_timestamp),
        )
    console.print(table)


def _span(first: int, last: int) -> str:
    if last < first or first < 0:
        return "none"
    return str(first) if first == last else f"{first}-{last}"


def _time(timestamp_ms: int) -> str:
    if timestamp_ms < 0:
        return ""
    try:
        time = datetime.datetime.fromtimestamp(timestamp_ms / 1000, datetime.UTC)
    except (OverflowError, ValueError, OSError):
        return str(timestamp_ms)
    return time.strftime("%Y-%m-%d %H:%M:%S")
