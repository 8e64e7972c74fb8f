"""The table of costs: the statements of the migration that adds it, which is never changed."""

from __future__ import annotations

COST_TABLES: tuple[str, ...] = (
    # Tokens and money of the operations that ended in one hour; of whole days, once their hours are folded: then
    # start_us is the day's. caller: the label of a command, component or reply. guild and user: keyed hashes. An empty
    # text stands for none or unknown. unpriced: operations with tokens whose model has no known price.
    """
    CREATE TABLE cost (
        start_us INTEGER NOT NULL,
        service TEXT NOT NULL,
        caller TEXT NOT NULL,
        model TEXT NOT NULL,
        guild TEXT NOT NULL,
        user TEXT NOT NULL,
        operations INTEGER NOT NULL,
        tokens_in INTEGER NOT NULL,
        tokens_out INTEGER NOT NULL,
        cached_tokens INTEGER NOT NULL,
        micro_usd INTEGER NOT NULL,
        unpriced INTEGER NOT NULL,
        PRIMARY KEY (start_us, service, caller, model, guild, user)
    ) WITHOUT ROWID
    """,
)
