"""Every page has all facts of a page."""

import re
from pathlib import Path

import pytest

from cogmeter.web import pages
from cogmeter.web.pages.frame import HOME, PageParams, menu_of
from cogmeter.web.pages.table import PAGE_ROUTES, PAGES
from cogmeter.web.server.assets import environment

ENTRY = r'<a href="(/performance[^"?]*)[^>]*?( aria-current="page")?><svg.*?</svg>(.*?)</a>'
FOLDER = Path(pages.__file__).parent


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)
def test_a_page_has_a_name_a_title_a_path_and_parameters(page):
    assert re.fullmatch("[a-z]+", page.name)
    assert page.title.strip()
    assert page.path == HOME or page.path.startswith(f"{HOME}/")
    assert issubclass(page.params, PageParams)


@pytest.mark.parametrize("page", menu_of(PAGES), ids=lambda page: page.name)
def test_a_page_in_the_menu_has_a_label_and_an_icon(page):
    assert page.menu.label.strip()
    assert re.fullmatch(r"M[-0-9. a-zA-Z]+", page.menu.icon)
    assert "{" not in page.path, "a path with parameters cannot be in the menu"


def test_menu_entries_differ_in_name_order_label_and_icon():
    menu = menu_of(PAGES)
    assert menu[0].path == HOME
    for values in zip(*((page.name, page.menu.order, page.menu.label, page.menu.icon) for page in menu), strict=True):
        assert len(set(values)) == len(menu), values


def test_a_page_outside_the_menu_has_the_name_of_an_entry():
    assert {page.name for page in PAGES} == {page.name for page in menu_of(PAGES)}


def test_the_table_names_every_module_that_defines_a_page():
    modules = {path.stem for path in FOLDER.glob("*.py") if "\nPAGE: Final" in path.read_text("utf-8")}
    assert modules == {page.show.__module__.rpartition(".")[2] for page in PAGES}


def test_every_page_has_one_route_and_a_template():
    paths = [route.path for route in PAGE_ROUTES]
    assert len(paths) == len(set(paths))
    assert {page.path for page in PAGES} <= set(paths)
    modules = {page.show.__module__.rpartition(".")[2] for page in PAGES}
    assert {f"{module}.html" for module in modules} <= set(environment().list_templates())


async def test_the_menu_is_on_every_page_in_order_with_the_present_one_marked(seeded):
    menu = menu_of(PAGES)
    async with seeded() as web:
        for page in PAGES:
            path = page.path.replace("{service}", "knowledge-graph")
            html = (await web.get(path, headers={"Accept": "text/html"})).text
            entries = re.findall(ENTRY, html)
            assert [(path, label) for path, _, label in entries] == [(entry.path, entry.menu.label) for entry in menu]
            present = [label for _, current, label in entries if current]
            assert present == [entry.menu.label for entry in menu if entry.name == page.name]
