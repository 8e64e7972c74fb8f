"""How the rules' messages write numbers, in the guide's form."""

from __future__ import annotations


def number(value: float) -> str:
    """At most one decimal, and none where it would be a zero: 7.8, 5, 120."""
    return f"{value:.1f}".removesuffix(".0")


def percent(share: float) -> str:
    """Of a share between 0 and 1: 7.8%, 0.04%."""
    return f"{share * 100:.2g}%" if 0 < share < 0.0005 else f"{number(share * 100)}%"


def duration(milliseconds: float) -> str:
    """The guide's form: 145ms, 8.2s, 5s."""
    return f"{milliseconds:.0f}ms" if milliseconds < 1000 else f"{number(milliseconds / 1000)}s"


def dollars(amount: float) -> str:
    """$12.50."""
    return f"${amount:,.2f}"


def megabytes(size: float) -> str:
    """Of bytes, in millions: 312 MB."""
    return f"{size / 1e6:,.0f} MB"


def against(what: str, breached: bool, threshold: str) -> str:
    """The guide's sentence, and another for what has fallen below its threshold and not yet recovered."""
    return f"{what} exceeds threshold of {threshold}" if breached else f"{what} is still near threshold of {threshold}"
