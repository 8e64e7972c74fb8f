"""Writes ``.env.example`` and ``docs/configuration.md`` from the settings model: ``make docs``."""

from __future__ import annotations

from pathlib import Path

from cogmeter.alerts.rules import RULES
from cogmeter.settings import Settings, env_name, example
from cogmeter_bot.settings import DASHBOARD, HTTP_PORT, OWN_DEFAULTS

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- settings: begin -->", "<!-- settings: end -->"
# Off by default, on in the example bot and here.
SWITCHED_ON = {name: OWN_DEFAULTS[name] for name in (DASHBOARD, HTTP_PORT)}
# A person who sets these switches off that they are learned, even with the default.
CALIBRATED = {rule.setting for rule in RULES.values() if rule.calibrated_from_s is not None}
HEAD = """\
# Every setting of cogmeter, with its default; the web is switched on. Copy this file to .env and change what you need.
# A setting that is not set has its default. Lines that begin with # are not read.

# The token of your bot; without it `make run` starts the demo.
# DISCORD_TOKEN=
"""


def env_example() -> str:
    """Return the text of ``.env.example``."""
    parts = [HEAD]
    for field, info in Settings.model_fields.items():
        unit = info.json_schema_extra["unit"]  # type: ignore[index,call-overload]  # every setting has one, see _setting
        empty = info.default is None or info.default == frozenset()
        line = f"{env_name(field)}={SWITCHED_ON.get(env_name(field), example(field))}"
        unset = field in CALIBRATED or (empty and env_name(field) not in SWITCHED_ON)
        default = " Default: not set." if empty else " Learned where it is not set." if field in CALIBRATED else ""
        parts.append(f"# {info.description}. Unit: {unit}.{default}\n{'# ' if unset else ''}{line}\n")
    return "\n".join(parts)


def table() -> str:
    """Return the table of settings."""
    rows = ["| Setting | Default | Unit | What it does |", "| --- | --- | --- | --- |"]
    for field, info in Settings.model_fields.items():
        unit = info.json_schema_extra["unit"]  # type: ignore[index,call-overload]  # every setting has one, see _setting
        empty = info.default is None or info.default == frozenset()
        default = "not set" if empty else f"`{example(field)}`"
        rows.append(f"| `{env_name(field)}` | {default} | {unit} | {info.description} |")
    return "\n".join(rows)


def page(text: str) -> str:
    """Return the page with its table updated."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    (ROOT / ".env.example").write_text(env_example(), encoding="utf-8")
    path = ROOT / "docs" / "configuration.md"
    path.write_text(page(path.read_text(encoding="utf-8")), encoding="utf-8")
