"""Setup and digest as the simulated Discord draws them in a browser on a phone: no text is cut or overlaps."""

import asyncio
import json
import time

import pytest

from cogmeter.recording.service_names import COMMANDS
from cogmeter_storage.model import HOUR_US, MINUTE_US, Outcome

MESSAGE = "[...document.querySelectorAll('.channel-message')].at(-1)"
# The page measures its window after it was loaded.
FITS = (
    f"(one => one && one.getBoundingClientRect().right <= innerWidth && one.scrollWidth <= one.clientWidth)({MESSAGE})"
)
# Texts of the message that are cut by the element that they are in, and pairs of lines of text that overlap.
FAULTS = f"""(() => {{
  const lines = [], faults = [], walker = document.createTreeWalker({MESSAGE}, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {{
    const node = walker.currentNode, range = document.createRange();
    if (!node.data.trim() || !node.parentElement.checkVisibility({{visibilityProperty: true}})) continue;
    if (node.parentElement.closest('.message-header')) continue;
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) {{
      if (box.width < 2 || box.height < 2) continue;
      if (box.right > innerWidth + 1 || box.left < 0) faults.push('outside: ' + node.data);
      for (const [other, text] of lines) {{
        const wide = Math.min(box.right, other.right) - Math.max(box.left, other.left);
        const high = Math.min(box.bottom, other.bottom) - Math.max(box.top, other.top);
        if (wide > 2 && high > 6) faults.push('overlaps: ' + node.data + ' | ' + text);
      }}
      lines.push([box, node.data]);
    }}
  }}
  return JSON.stringify([lines.length, faults]);
}})()"""


async def seed(home):
    now_us = time.time_ns() // 1_000
    (ask,) = await home.monitor.store.series_ids([(COMMANDS, "a command with a long name that goes on")])
    rows = [
        (ask, now_us - 5 * HOUR_US + number * MINUTE_US, 80_000_000, Outcome.ERROR, "ValueError: no", None)
        for number in range(250)
    ]
    await home.monitor.store.append([rows], now_us=now_us)


@pytest.mark.parametrize("command", ["setup", "digest"])
async def test_a_message_fits_a_phone_without_cut_or_overlapping_text(move_in, browser, command):
    def look():
        for width in (420, 1280):
            browser.open(preview.url, width=width, height=1400)
            browser.wait(FITS, f"a message that fits {width} pixels")
            count, faults = json.loads(browser.evaluate(FAULTS))
            assert count > 10
            assert faults == []

    async with move_in() as home:
        await seed(home)
        page = home.env.preview(home.channel, viewers=[home.owner], layout="channel", timezone="UTC", port=0)
        async with page as preview:
            await home.owner.slash(home.channel, f"perf {command}")
            await asyncio.to_thread(look)
