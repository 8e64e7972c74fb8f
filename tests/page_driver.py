"""A page of the dashboard in the browser: opened, settled, and calm."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from large_dataset import HOSTILE, LONG

if TYPE_CHECKING:
    from browser import Page

# Pages as they are of a bot of which nothing is known, and of ``large_dataset``.
EMPTY = [
    *("/performance/errors", "/performance/usage", "/performance/discord", "/performance/cost"),
    *("/performance/alerts", "/performance"),
]
FULL = [
    "/performance",
    "/performance/errors",
    "/performance/errors?group=99",
    "/performance/usage",
    "/performance/discord",
    "/performance/cost",
    "/performance/alerts",
    "/performance?period=7d",
    f"/performance/services/{quote(HOSTILE, safe='')}",
    f"/performance/services/{LONG}?period=1h",
]
SETTLED = (
    "!!document.querySelector('footer') && "
    "[...document.querySelectorAll('figure[data-chart]')].every(one => ['drawn', 'empty'].includes(one.dataset.state))"
)
LIVE = "document.getElementById('live').dataset.state"


def calm(page: Page, url: str) -> None:
    """Nothing was refused by the content policy, no script failed, and nobody else was asked."""
    assert page.errors == []
    assert {urlsplit(one).netloc for one in page.asked if one.startswith("http")} == {urlsplit(url).netloc}


def opened(page: Page, url: str, **size: int) -> None:
    page.open(url, **size)
    page.wait("document.readyState === 'complete'")
    page.wait(SETTLED, "the charts")
    page.wait(f"{LIVE} === 'live'", "the live stream")
