"""The table of push targets, and the errors of a target that cannot be built."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cogmeter.push.base import Origin
from cogmeter.push.table import TARGETS, build, switched_on
from cogmeter.settings import Settings, SettingsError

ORIGIN = Origin("chatterbot", "", "host-1")
SOURCE = Path(__file__).parents[3] / "cogs" / "cogmeter" / "push"


ON = {"otlp": True, "datadog": True, "statsd": "localhost:8125"}


@pytest.mark.parametrize("name", TARGETS)
def test_each_target_has_a_switch_that_is_off_by_default(name):
    field = TARGETS[name][1]
    assert name not in switched_on(Settings())
    assert switched_on(Settings(**{field: ON[name]})) == [name]


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_has_the_name_of_the_table(name):
    target = build(name, Settings(**{TARGETS[name][1]: ON[name], "DATADOG_API_KEY": "key"}), ORIGIN)
    assert (target.name, bool(target.label), target.oldest_us > 0) == (name, True, True)


@pytest.mark.parametrize("library", ["opentelemetry", "google"])
def test_a_missing_extra_is_a_setting_error_with_the_command_that_installs_it(monkeypatch, library):
    for module in [module for module in sys.modules if module.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delitem(sys.modules, "cogmeter.push.otlp", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(SettingsError, match=r"PERFORMANCE_EXPORT_OTLP: .*pip install 'cogmeter\[otlp\]'"):
        build("otlp", Settings(), ORIGIN)


def test_an_error_in_a_target_of_ours_is_not_taken_for_a_missing_extra(monkeypatch):
    monkeypatch.setitem(TARGETS, "broken", ("no_such_module", "export_otlp"))
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        build("broken", Settings(), ORIGIN)


def test_the_table_imports_no_target_and_no_settings():
    code = (
        "import sys; import cogmeter.push.table;"
        "assert not {'cogmeter.push.otlp', 'cogmeter.settings', 'google.protobuf', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
