"""Hooks for schemathesis: conditions between two valid parameters that no JSON Schema expresses."""

import re

import schemathesis

from cogmeter.query.query import now_us
from cogmeter.schemas.times import parse_end, parse_time

CURSOR = re.compile("[A-Za-z0-9_-]{1,200}")


def time_of(read, value):
    try:
        return read(value)
    except Exception:
        return None


@schemathesis.hook
def before_call(ctx, case, **kwargs):
    if case.meta is not None and case.meta.generation.mode.is_negative:
        return  # what is wrong in it has to stay
    query = case.query
    if isinstance(query, dict):
        in_order(query)
        if "operation" in query and "service" not in query and "{service}" not in case.path:
            del query["operation"]
        if isinstance(query.get("cursor"), str) and CURSOR.fullmatch(query["cursor"]):
            del query["cursor"]  # a cursor comes from a page; one that is made up is refused
    body = case.body
    of_nothing = isinstance(body, dict) and all(body.get(name) is None for name in ("service", "rule", "all"))
    if case.path.endswith("/mutes") and of_nothing:
        body["all"] = True


def in_order(query):
    """since before until, and not ahead."""
    since = time_of(parse_time, query.get("since"))
    until = time_of(parse_end, query.get("until"))
    if since is not None and since >= now_us():
        query["since"], since = "2025-08-16", parse_time("2025-08-16")
    if None not in (since, until) and since >= until:
        query["since"], query["until"] = "2025-08-16", "2025-08-17"
