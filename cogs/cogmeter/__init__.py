"""Performance monitoring that lives inside a discord.py bot.

Record from anywhere, before or after the extension ``cogmeter.cog`` is loaded, with or without it::

    with cogmeter.operation("knowledge-graph", "query", model="gpt-4o") as op:
        op.annotate(tokens_in=512)

    @cogmeter.track("sentiment-analysis", "analyze")
    async def analyze(text): ...

    cogmeter.record("context-memory", "retrieve", duration_ms=12.3)

    cogmeter.mark("deployed 1.4")

    cogmeter.annotate(tokens_in=512)  # the operation that the running code is part of
    cogmeter.usage(await client.chat.completions.create(...))  # its model and tokens, of most providers

Monitor a client that loads no extensions::

    cogmeter.attach(client)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import discord
    from discord import app_commands

    from cogmeter.cog.attach import Attachment
    from cogmeter.recording.annotation import annotate
    from cogmeter.recording.budgets import CostBudget
    from cogmeter.recording.llm_usage import usage
    from cogmeter.recording.operation import Operation
    from cogmeter.recording.recorder import Recorder, Tracker, default_recorder
    from cogmeter_storage.model import Outcome

    mark = default_recorder.markers.mark
    budget = default_recorder.budgets.of
    operation = default_recorder.operation
    record = default_recorder.record
    track = default_recorder.track

__all__ = [
    "CostBudget",
    "Operation",
    "Outcome",
    "Recorder",
    "Tracker",
    "__version__",
    "annotate",
    "attach",
    "budget",
    "default_recorder",
    "mark",
    "operation",
    "record",
    "track",
    "usage",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import what records at its first use: the chart worker, which only draws, imports this package as well."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from cogmeter.recording.annotation import annotate
    from cogmeter.recording.budgets import CostBudget
    from cogmeter.recording.llm_usage import usage
    from cogmeter.recording.operation import Operation
    from cogmeter.recording.recorder import Recorder, Tracker, default_recorder
    from cogmeter_storage.model import Outcome

    globals().update(
        CostBudget=CostBudget,
        Operation=Operation,
        Outcome=Outcome,
        Recorder=Recorder,
        Tracker=Tracker,
        annotate=annotate,
        budget=default_recorder.budgets.of,
        default_recorder=default_recorder,
        mark=default_recorder.markers.mark,
        operation=default_recorder.operation,
        record=default_recorder.record,
        track=default_recorder.track,
        usage=usage,
    )
    return globals()[name]


def attach(client: discord.Client, tree: app_commands.CommandTree[Any] | None = None) -> Attachment:
    """Monitor a client of discord.py: a ``Client``, ``AutoShardedClient`` or ``Bot``, before or after its login.

    The monitor starts with the client's login (after it: at once) and stops with its close, or with ``await
    attachment.stop()``. ``/perf`` is added to the client's command tree, if it has one. A client that is attached
    already returns the same attachment. Call it on the client's event loop, or before that runs.

    Raises:
        SettingsError: a setting is not valid; the text names it and its value.
    """
    # Imported by name and only here: this package loads no discord, and lower layers import it.
    return importlib.import_module("cogmeter.cog.attach").attach(client, tree)  # type: ignore[no-any-return]
