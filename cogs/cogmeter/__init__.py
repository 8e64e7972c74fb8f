"""Performance monitoring that lives inside a discord.py bot.

Record from anywhere, before or after the extension ``cogmeter.cog`` is loaded, with or without it::

    with cogmeter.operation("knowledge-graph", "query", model="gpt-4o") as op:
        op.annotate(tokens_in=512)

    @cogmeter.track("sentiment-analysis", "analyze")
    async def analyze(text): ...

    cogmeter.record("context-memory", "retrieve", duration_ms=12.3)

    cogmeter.mark("deployed 1.4")
"""

from cogmeter.recording.operation import Operation
from cogmeter.recording.recorder import Recorder, Tracker
from cogmeter_storage.model import Outcome

__all__ = [
    "Operation",
    "Outcome",
    "Recorder",
    "Tracker",
    "__version__",
    "default_recorder",
    "mark",
    "operation",
    "record",
    "track",
]

__version__ = "0.1.0"

default_recorder = Recorder()  # passive: a list and two dictionaries until something is recorded
mark = default_recorder.markers.mark
operation = default_recorder.operation
record = default_recorder.record
track = default_recorder.track
