"""Drives the terminal dashboard: opens it, waits for what it shows, reads its screen."""

from contextlib import asynccontextmanager

from cogmeter_bot.tui.chrome import StatusLine
from cogmeter_bot.tui.grid import Grid


@asynccontextmanager
async def opened(app, size=(80, 24)):
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "updated" in said(app))
        yield pilot


async def until(pilot, true, tries=1000):
    for _ in range(tries):
        if true():
            return
        await pilot.pause(0.02)
    raise AssertionError(f"never came: {said(pilot.app)}")


def said(app):
    return str(app.screen_stack[0].query_one(StatusLine).render())


def shown(app):
    """All that is on the screen, as text."""
    return "\n".join("".join(part.text for part in line) for line in app.screen._compositor.render_strips())


def grid(app, name):
    return app.screen_stack[0].query_one(f"#{name}", Grid)
