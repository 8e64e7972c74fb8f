"""Names that leave the process: a moved module or a renamed variable must not change them.

Log configurations name the loggers; a database and messages in Discord keep the rest across updates.
"""

import re
from pathlib import Path

from cogmeter.alerts.evaluator import BASELINES, MEASURED, SPENDING
from cogmeter.cog import scheduled_posts
from cogmeter.cog.alert_buttons import ACTIONS
from cogmeter.diagnostics import uptime
from cogmeter.notifiers.discord_channel.message import TEMPLATE, MessageRef, custom_id
from cogmeter.recording.markers import VERSION_KEY
from cogmeter.watch.interactions import people
from cogmeter.web.metrics import counters

ROOT = Path(__file__).parents[2]
LOGGERS = {
    "cogmeter",
    "cogmeter.alerts",
    "cogmeter.charts",
    "cogmeter.clock",
    "cogmeter.cog",
    "cogmeter.flusher",
    "cogmeter.heartbeat",
    "cogmeter.marks",
    "cogmeter.notifiers",
    "cogmeter.operations",
    "cogmeter.parts",
    "cogmeter.push",
    "cogmeter.query",
    "cogmeter.render.charts",
    "cogmeter.runtime",
    "cogmeter.schedule",
    "cogmeter.scheduler",
    "cogmeter.settings",
    "cogmeter.storage",
    "cogmeter.watch",
    "cogmeter.web",
}


def test_the_loggers_keep_their_names():
    sources = [*ROOT.glob("cogs/**/*.py"), *ROOT.glob("storage/**/*.py")]
    calls = {call for path in sources for call in re.findall(r"getLogger\(([^)]*)\)", path.read_text("utf-8"))}
    assert "__name__" not in calls
    assert {call.strip('"') for call in calls if call.startswith('"cogmeter')} == LOGGERS


def test_the_store_keeps_its_state_under_the_same_keys():
    keys = [BASELINES, MEASURED, SPENDING, VERSION_KEY, counters.KEY, people.KEY, scheduled_posts.KEY, uptime.KEY]
    stored = ["alerts.baselines", "alerts.measured", "alerts.spending", "version", "metrics-base", "privacy-key"]
    assert keys == [*stored, "weekly_report", "uptime"]


def test_a_posted_message_is_found_and_its_buttons_work_after_an_update():
    receipt = '{"channel":5,"message":6,"posted_us":7,"thread":null,"chart":true}'
    assert MessageRef.from_receipt(receipt) == MessageRef(5, 6, 7, None, chart=True)
    assert MessageRef(5, 6, 7, None, chart=True).to_receipt() == receipt
    assert ACTIONS.keys() == {"acknowledge", "details", "mute-1d", "mute-1h", "mute-4h", "unmute"}
    for action in ACTIONS:
        press = TEMPLATE.fullmatch(f"cogmeter:alert:{action}:0a1b")
        assert press is not None
        assert press.groupdict() == {"action": action, "uid": "0a1b"}
        assert custom_id(action, "0a1b") == f"cogmeter:alert:{action}:0a1b"
