"""Discord's documented limits for message components and modals (API documentation: components/reference)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from loopback.payloads import JSON
from loopback.problems import Problems

V2_FLAG = 1 << 15
ROW, BUTTON, STRING_SELECT, TEXT_INPUT, SECTION, TEXT, CONTAINER, LABEL = 1, 2, 3, 4, 9, 10, 17, 18
SELECTS = frozenset({3, 5, 6, 7, 8})
LINK, PREMIUM = 5, 6
TEXTS_IN_ALL = 4000
COMPONENTS_IN_ALL = 40


def walk(components: list[JSON], path: str) -> Iterator[tuple[str, JSON]]:
    """Every component with its path, nested ones included."""
    for number, component in enumerate(components):
        where = f"{path}.{number}"
        yield where, component
        yield from walk(component.get("components") or [], f"{where}.components")
        for key in ("accessory", "component"):
            if key in component:
                yield f"{where}.{key}", component[key]


def check_components(
    problems: Problems, components: list[JSON], path: str, *, v2: bool, names: frozenset[str] = frozenset()
) -> None:
    """Checks the components of a message."""
    every = list(walk(components, path))
    if v2 and len(every) > COMPONENTS_IN_ALL:
        problems.add(path, "COMPONENT_MAX_TOTAL_COMPONENTS_EXCEEDED", f"At most {COMPONENTS_IN_ALL} components in all")
    if not v2:
        for number, component in enumerate(components):
            if component.get("type") != ROW:
                problems.add(
                    f"{path}.{number}.type", "UNION_TYPE_CHOICES", "Value of field 'type' must be one of (1,)."
                )
    for where, component in every:
        _check_one(problems, component, where, names)
    _check_unique(problems, every)
    if sum(len(component.get("content") or "") for _, component in every) > TEXTS_IN_ALL:
        problems.add(path, "COMPONENT_TEXT_TOO_LONG", f"All texts together must be {TEXTS_IN_ALL} or fewer in length.")


def check_modal(problems: Problems, data: JSON, path: str = "data") -> None:
    """Checks the data of a modal response."""
    problems.text(data, path, "title", 45, least=1, required=True)
    problems.text(data, path, "custom_id", 100, least=1, required=True)
    rows = problems.count(data, path, "components", 5, least=1)
    every = list(walk(rows, f"{path}.components"))
    for where, component in every:
        _check_one(problems, component, where, frozenset())
        if component.get("type") == LABEL:
            problems.text(component, where, "label", 45, least=1, required=True)
            problems.text(component, where, "description", 100)
    _check_unique(problems, every)


def _check_one(problems: Problems, component: JSON, where: str, names: frozenset[str]) -> None:
    kind = component.get("type")
    if kind == ROW:
        _check_row(problems, component, where)
    elif kind == BUTTON:
        _check_button(problems, component, where)
    elif kind in SELECTS:
        _check_select(problems, component, where)
    elif kind == TEXT_INPUT:
        _check_text_input(problems, component, where)
    elif kind == TEXT:
        problems.text(component, where, "content", TEXTS_IN_ALL, required=True)
    elif kind == SECTION:
        problems.count(component, where, "components", 3, least=1)
    _check_media(problems, component, where, names)


def _check_row(problems: Problems, row: JSON, where: str) -> None:
    inside = problems.count(row, where, "components", 5, least=1)
    alone = [child for child in inside if child.get("type") != BUTTON]
    if alone and len(inside) > 1:
        problems.add(where, "COMPONENT_LAYOUT_WIDTH_EXCEEDED", "A select or text input stands alone in its row")


def _check_button(problems: Problems, button: JSON, where: str) -> None:
    problems.number(button, where, "style", 1, 6)
    problems.text(button, where, "label", 80)
    if button.get("style") == LINK:
        problems.text(button, where, "url", 512, required=True)
    elif button.get("style") != PREMIUM:
        problems.text(button, where, "custom_id", 100, least=1, required=True)
        if not button.get("label") and not button.get("emoji"):
            problems.add(where, "BUTTON_COMPONENT_INVALID", "A button needs a label or an emoji")


def _check_select(problems: Problems, select: JSON, where: str) -> None:
    problems.text(select, where, "custom_id", 100, least=1, required=True)
    problems.text(select, where, "placeholder", 150)
    problems.number(select, where, "min_values", 0, 25)
    problems.number(select, where, "max_values", 1, 25)
    if select.get("type") != STRING_SELECT:
        return
    options = problems.count(select, where, "options", 25, least=1)
    for number, option in enumerate(options):
        for key, required in (("label", True), ("value", True), ("description", False)):
            problems.text(option, f"{where}.options.{number}", key, 100, required=required)
    values = [option.get("value") for option in options]
    if len(set(values)) != len(values):
        problems.add(f"{where}.options", "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED", "Values must be unique")


def _check_text_input(problems: Problems, text_input: JSON, where: str) -> None:
    problems.text(text_input, where, "custom_id", 100, least=1, required=True)
    problems.text(text_input, where, "label", 45)
    problems.text(text_input, where, "placeholder", 100)
    problems.text(text_input, where, "value", 4000)
    problems.number(text_input, where, "min_length", 0, 4000)
    problems.number(text_input, where, "max_length", 1, 4000)


def _check_media(problems: Problems, component: JSON, where: str, names: frozenset[str]) -> None:
    media: list[Any] = [component.get("media"), component.get("file")]
    media += [item.get("media") for item in component.get("items") or []]
    for entry in media:
        if isinstance(entry, dict):
            problems.address(entry.get("url"), f"{where}.media.url", names)


def _check_unique(problems: Problems, every: list[tuple[str, JSON]]) -> None:
    seen: set[str] = set()
    for where, component in every:
        custom_id = component.get("custom_id")
        if custom_id in seen:
            problems.add(
                f"{where}.custom_id", "COMPONENT_CUSTOM_ID_DUPLICATED", "Component custom id cannot be duplicated"
            )
        elif custom_id:
            seen.add(custom_id)
