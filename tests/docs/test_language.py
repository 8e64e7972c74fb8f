"""Docstrings, messages and pages use standard terms: the words that earlier versions invented stay out."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [file for folder in ("storage", "cogs", "bot") for file in sorted((ROOT / folder).rglob("*.py"))]
PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(file for folder in ("storage", "cogs", "bot") for file in sorted((ROOT / folder).rglob("*.md"))),
    *(ROOT / "cogs/cogmeter/web/pages/templates").glob("*.html"),
    *(ROOT / "cogs/cogmeter/web/pages/static").glob("*.js"),
]
# Each word has a plain one: "delivered" for "told", "active" for "stands", "return" for "give", "besides" for "beside".
DIALECT = re.compile(
    r"\b(told|telling|stood|speaks?|spoken|brings?|brought|takes? up|taken up|stretch(es)? of time|people's form|"
    r"mend(s|ed|ing)?|ails|dearer|commonest|beside|"
    r"foretells?|whom|(is|are|all) well|asked for|(what|whom) it touched|"
    r"tells?|anew|meanwhile|nowhere|go(es)? on|for good|unlike (itself|themselves)|given up|by the minute)\b",
    re.IGNORECASE,
)
# Words that other texts need, but no name of a test.
TEST_DIALECT = re.compile(r"\b(said|stands?|standing|holds?|held|touched)\b")
# A docstring starts with what the code does or is, not with a question word.
QUESTION = re.compile(r"^(What|Whether|The same|That of|Those of)\b")


def texts_of(file):
    """Yield (line, text) for each docstring and each string with a space."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


def test_texts_and_docstrings_use_standard_terms():
    found = [
        f"{file.relative_to(ROOT)}:{line}: {match[0]}"
        for file in SOURCES
        for line, text in texts_of(file)
        for match in DIALECT.finditer(text)
    ]
    assert not found


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT)))
def test_pages_use_standard_terms(file):
    lines = file.read_text(encoding="utf-8").splitlines()
    assert not [f"{number}: {line}" for number, line in enumerate(lines, start=1) if DIALECT.search(line)]


def test_names_of_tests_use_standard_terms():
    names = [
        name.replace("_", " ")
        for file in (ROOT / "tests").rglob("*.py")
        for name in re.findall(r"def (test_\w+)", file.read_text(encoding="utf-8"))
    ]
    assert len(names) > 2_000
    assert not [name for name in names if DIALECT.search(name) or TEST_DIALECT.search(name)]


def test_the_first_lines_of_test_files_use_standard_terms():
    found = []
    for file in (ROOT / "tests").rglob("*.py"):
        text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        first = text.partition("\n\n")[0]
        if DIALECT.search(first) or TEST_DIALECT.search(first):
            found.append(f"{file.relative_to(ROOT)}: {first}")
    assert not found


def test_the_docstring_of_a_function_starts_with_a_verb():
    found = [
        f"{file.relative_to(ROOT)}:{node.lineno}: {doc.splitlines()[0]}"
        for file in SOURCES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (doc := ast.get_docstring(node))
        and QUESTION.match(doc)
        and "property" not in {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
    ]
    assert not found


def test_no_two_classes_share_a_name():
    seen: dict[str, Path] = {}
    twice = []
    for file in SOURCES:
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                if node.name in seen:
                    twice.append(f"{node.name}: {seen[node.name].relative_to(ROOT)}, {file.relative_to(ROOT)}")
                seen[node.name] = file
    assert not twice
