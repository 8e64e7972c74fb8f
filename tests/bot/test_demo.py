"""The demo as a visitor meets it: started by its command, used in a browser, ended by Ctrl+C."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from cogmeter_storage import open_store

pytestmark = pytest.mark.slow

LIST = "document.querySelector('#channel-message-list')"
INPUT = "document.querySelector('#channel-composer-input')"
CHARTS = f"[...{LIST}.querySelectorAll('img')].filter(one => one.naturalWidth >= 1000).length"
ROOT = Path(__file__).parents[2]
START_S = 90  # a cold machine; it is said to be ready in 15


class Demo:
    """The running demo, and what it printed so far."""

    def __init__(self, folder, *arguments, module="cogmeter_bot"):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PERFORMANCE_", "DISCORD_"))}
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=folder,
            env={**kept, "TMPDIR": str(folder), "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        with self.process.stdout as output:
            for line in output:
                self.lines.append(line)

    @property
    def output(self):
        return "".join(self.lines)

    def url(self):
        """The address of the simulated Discord."""
        return self._printed(r"http://127\.0\.0\.1:\S+")

    def dashboard(self):
        """Where the dashboard, the API and the metrics are: scheme, host and port."""
        return self._printed(r"Dashboard: +(http://localhost:[0-9]+)/performance\n", group=1)

    def _printed(self, pattern, group=0):
        deadline = time.perf_counter() + START_S
        while not (found := re.search(pattern, self.output)):
            assert self.process.poll() is None, self.output
            assert time.perf_counter() < deadline, self.output
            time.sleep(0.1)
        return found[group]

    def stop(self, sent=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(sent)
        code = self.process.wait(30)
        self._reader.join(10)
        return code


@pytest.fixture
def start(tmp_path):
    """Starts demos that find their temporary folder, and nothing else, in tmp_path/place."""
    demos = []
    place = tmp_path / "place"
    place.mkdir()

    def one(*arguments, **options):
        demos.append(Demo(place, *arguments, **options))
        return demos[-1]

    one.place = place
    yield one
    for demo in demos:
        if demo.process.poll() is None:
            demo.process.kill()
            demo.stop()


class Visitor:
    """Uses the page of the demo."""

    def __init__(self, page, url):
        self.page = page
        page.open(url)
        page.wait(f"{LIST} && {LIST}.innerText.includes('This is a simulation')", "the greeting")

    def picture(self, path, number=-1):
        """A screenshot with one of the messages at its top; the page itself stays where it was while images load."""
        self.page.evaluate(f"[...{LIST}.querySelectorAll('.channel-message')].at({number}).scrollIntoView()")
        time.sleep(0.5)
        self.page.screenshot(path)

    def read(self):
        return self.page.evaluate(f"{LIST}.innerText")

    def use(self, command, *values):
        """Type a slash command into the picker, choose it, fill in its options, and send it."""
        # Right after an answer the page is still busy with the one before.
        self.page.wait(f"!!{INPUT} && !document.querySelector('#send-message').disabled", "the composer")
        self.page.evaluate(f"{INPUT}.focus()")
        self.page.insert(f"/{command}")
        self.page.wait("document.querySelectorAll('[role=option]').length === 1", f"/{command} in the picker")
        self.page.press("Enter")
        for value in values:
            self.page.wait("document.activeElement.classList.contains('command-option-input')", "an option")
            self.page.insert(value)
            self.page.wait(
                f"[...document.querySelectorAll('[role=option]')].some(one => one.innerText.includes({value!r}))",
                f"the suggestion {value}",
            )
            self.page.press("Enter")
        # A command that meets a refresh of the page is turned away, stays in the composer, and can be sent again.
        while self._send() == "Action was not completed.":
            pass

    def _send(self):
        """Press Send; what the page says then."""
        self.page.wait("!document.querySelector('#send-message').disabled", "Send")
        before = "document.querySelector('#action-status').innerText = ''"
        self.page.evaluate(f"{before}; document.querySelector('#send-message').click()")
        return self.page.wait(
            "(document.querySelector('#action-status').innerText.match(/^Action .*/) || [''])[0]", "an outcome"
        )


@pytest.mark.timeout(300)
def test_a_visitor_gets_summary_statistics_and_an_alert_with_their_charts(start, browser, tmp_path):
    visitor = Visitor(browser, start("demo").url())

    visitor.use("perf summary")
    browser.wait(f"{CHARTS} >= 1", "the chart of the summary")
    visitor.picture(tmp_path / "summary.png")
    assert "core-intelligence" in visitor.read()

    visitor.use("perf stats", "sentiment-analysis")
    browser.wait(f"{CHARTS} >= 2", "the chart of the statistics")
    visitor.picture(tmp_path / "stats.png")
    assert re.search("Rate limit exceeded|Invalid input format", visitor.read())  # the past is made by chance

    browser.wait(f"{LIST}.innerText.includes('exceeds threshold of 5%')", "the first alert")
    browser.wait(f"{CHARTS} >= 3", "the chart of the alert")
    visitor.picture(tmp_path / "alert.png")
    browser.resize(420, 900)
    browser.wait("window.innerWidth === 420")
    visitor.picture(tmp_path / "phone.png")

    # The page of the simulator has no icon of its own; the browser asks for one all the same.
    assert [one for one in browser.errors if "favicon.ico" not in one] == []
    asked = {urlsplit(one).hostname for one in browser.asked if one.startswith("http")}
    assert asked == {"127.0.0.1"}


# What each page of the dashboard shows of the demo's week.
PAGES = {
    "/performance": "core-intelligence",
    "/performance/services/core-intelligence": "TimeoutError",
    "/performance/discord": "connected",
    "/performance/cost": "/ask",
    "/performance/alerts": "exceeds threshold of 5%",
}
DRAWN = (
    "document.readyState === 'complete'"
    " && [...document.querySelectorAll('figure[data-chart]')].every(one => one.dataset.state === 'drawn')"
)
LIVE = "document.getElementById('live').dataset.state === 'live'"


@pytest.mark.timeout(300)
def test_every_page_of_the_dashboard_is_full_from_the_start(start, browser, tmp_path):
    demo = start("demo")
    address = demo.dashboard()
    demo.url()
    for number, (path, words) in enumerate(PAGES.items()):
        for width in (1280, 420):
            browser.open(f"{address}{path}?period=7d", width=width)
            # The page before may still be there for a moment.
            browser.wait(f"location.pathname === '{path}' && {DRAWN}", f"the charts of {path}")
            browser.wait(LIVE, "the live stream")
            browser.wait(f"document.body.textContent.includes('{words}')", f"{words} at {path}")
            browser.screenshot(tmp_path / f"{number}-{width}.png")
    assert browser.errors == []
    asked = {urlsplit(one).netloc for one in browser.asked if one.startswith("http")}
    assert asked == {urlsplit(address).netloc}


def test_the_demo_greets_with_the_dashboards_address(start, browser):
    demo = start("demo", "--history-days", "0.1")
    address = demo.dashboard()
    assert f"{address}/performance" in Visitor(browser, demo.url()).read()


def test_the_running_demo_serves_its_metrics_on_the_printed_port(start):
    demo = start("demo", "--history-days", "0.1")
    with urllib.request.urlopen(f"{demo.dashboard()}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    assert re.search(r'^chatterbot_operations_total\{.*service="core-intelligence".*\} [1-9]', text, re.MULTILINE)
    promtool = shutil.which("promtool")
    if promtool is not None:
        checked = subprocess.run(
            [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert (checked.returncode, checked.stderr) == (0, "")


def test_every_part_of_the_bot_is_watched_without_a_warning(start):
    """The simulator's own gaps are no findings for a visitor."""
    demo = start("demo", "--history-days", "0.1")
    try:
        with urllib.request.urlopen(f"{demo.dashboard()}/health/performance", timeout=30) as answer:
            checks = json.load(answer)["checks"]
    except urllib.error.HTTPError as starting:  # 503 until the first operations are stored
        checks = json.load(starting)["checks"]
    demo.url()
    assert checks["hooks"]["status"] == "healthy"
    assert "Cannot watch" not in demo.output
    assert [line for line in demo.lines if "WARNING" in line and "[ALERT]" not in line] == []


@pytest.mark.skipif(sys.platform == "win32", reason="no signals to send there")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_ends_cleanly_and_leaves_nothing_behind(start, sent):
    demo = start("demo", "--history-days", "0.2")
    demo.url()
    assert len(list(start.place.iterdir())) == 1
    children = psutil.Process(demo.process.pid).children(recursive=True)
    assert demo.stop(sent) == 0
    assert "Traceback" not in demo.output
    assert psutil.wait_procs(children, timeout=10)[1] == []
    assert list(start.place.iterdir()) == []


def test_python_dash_m_bot_without_a_token_is_the_demo(start):
    demo = start(module="bot")
    demo.url()
    assert demo.output.startswith("DISCORD_TOKEN is not set, so the demo starts.")
    assert "is not registered with Discord" not in demo.output
    assert demo.stop() == 0


async def test_a_database_of_ones_own_is_kept_with_history_and_live_operations(start):
    demo = start("demo", "--history-days", "0.1", "--database", "kept.db")
    demo.url()
    time.sleep(4)
    demo.stop()
    store = await open_store(f"sqlite:///{start.place}/kept.db")
    try:
        status = await store.status()
    finally:
        await store.close()
    assert status.operations > 300
    assert status.series >= 11


async def test_without_history_the_database_begins_empty(start):
    demo = start("demo", "--no-history", "--database", "kept.db")
    demo.url()
    demo.stop()
    store = await open_store(f"sqlite:///{start.place}/kept.db")
    try:
        assert (await store.status()).operations < 300
    finally:
        await store.close()
