"""A page of the dashboard in the browser: opened, settled, calm, and for everybody."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from large_dataset import CJK, HOSTILE, LONG, RTL, WIDE

from cogmeter.web.pages.table import PAGES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from browser import Page

# Every page of the table, of a bot of which nothing is known; the overview is the last.
EMPTY = [*(page.path for page in PAGES[1:] if "{" not in page.path), PAGES[0].path]
SERVICES = [f"/performance/services/{quote(name, safe='')}" for name in (CJK, RTL, WIDE, HOSTILE, LONG)]
# Every page of the table, and some in other states, of ``large_dataset``; the last has the charts of a service.
FULL = [
    *EMPTY,
    "/performance/errors?group=99",
    f"/performance/compare?service={quote(HOSTILE, safe='')}&after=24h",
    *SERVICES[:-1],
    f"{SERVICES[-1]}?period=1h",
]
SETTLED = (
    "!!document.querySelector('footer') && "
    "[...document.querySelectorAll('figure[data-chart]')].every(one => ['drawn', 'empty'].includes(one.dataset.state))"
)
LIVE = "document.getElementById('live').dataset.state"
OVERFLOW = "Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) - innerWidth"
# Elements whose text is cut by their own border, without a way to scroll to it.
CUT = """[...document.querySelectorAll('main *')].filter(one => {
  const style = getComputedStyle(one);
  return one.scrollWidth > one.clientWidth + 1 && one.clientWidth && style.overflowX === 'visible'
    && style.display !== 'inline' && one.getBoundingClientRect().right > innerWidth + 1;
}).map(one => one.outerHTML.slice(0, 120))"""


def calm(page: Page, url: str) -> None:
    """Nothing was refused by the content policy, no script failed, and nobody else was asked."""
    assert page.errors == []
    assert {urlsplit(one).netloc for one in page.asked if one.startswith("http")} == {urlsplit(url).netloc}


def opened(page: Page, url: str, **size: int) -> None:
    page.open(url, **size)
    page.wait("document.readyState === 'complete'")
    page.wait(SETTLED, "the charts")
    page.wait(f"{LIVE} === 'live'", "the live stream")


def opened_plain(page: Page, url: str, **size: int) -> None:
    """Open a plain page: sign in, a problem, the API, the public status."""
    page.open(url, **size)
    page.wait("document.readyState === 'complete' && !!document.querySelector('.plain h1')")


def violations(page: Page, axe: Path) -> list[tuple[str, str, list[str]]]:
    """What axe-core finds on a page that is serious."""
    page.evaluate(axe.read_text())
    run = "axe.run({resultTypes: ['violations']})"  # what passes is not described
    found = json.loads(page.evaluate(f"{run}.then(one => JSON.stringify(one.violations))"))
    return [
        (one["id"], one["impact"], [node["html"][:160] for node in one["nodes"]][:3])
        for one in found
        if one["impact"] in {"serious", "critical"}
    ]


def violations_everywhere(
    page: Page, axe: Path, url: str, *, open_it: Callable[..., None] = opened
) -> list[tuple[str, str, list[str]]]:
    found = []
    for dark, width in itertools.product((True, False), (1280, 420)):
        page.prefer(dark=dark)
        open_it(page, url, width=width)
        found += violations(page, axe)
    return found
