"""The commit that the bot runs from, compared with git's own answer, and with folders that are no repository."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from cogmeter.monitor.git_revision import revision

COMMIT = "0123456789abcdef0123456789abcdef01234567"

with_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(folder, *arguments):
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "protocol.file.allow=always")
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True, timeout=30
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    """A repository with one commit."""
    folder = tmp_path / "bot"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "first")
    return folder


@pytest.fixture
def written(tmp_path):
    """``written(HEAD=..., **files)``: a ``.git`` folder made by hand."""

    def write(head, **files):
        (tmp_path / ".git").mkdir()
        (tmp_path / ".git" / "HEAD").write_text(head)
        for name, text in files.items():
            path = tmp_path / ".git" / name.replace("__", "/").replace("_", "-")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


@with_git
def test_it_is_what_git_says_from_any_folder_of_the_repository(repository, monkeypatch):
    inside = repository / "cogs" / "music"
    inside.mkdir(parents=True)
    expected = git(repository, "rev-parse", "HEAD")[:7]
    assert revision(repository) == revision(inside) == expected
    monkeypatch.chdir(inside)
    assert revision() == expected


@with_git
def test_a_packed_branch_a_newer_loose_one_and_a_detached_head_are_read(repository):
    git(repository, "tag", "one")
    git(repository, "pack-refs", "--all")
    assert revision(repository) == git(repository, "rev-parse", "HEAD")[:7]
    git(repository, "commit", "--quiet", "--allow-empty", "--message", "second")
    assert revision(repository) == git(repository, "rev-parse", "HEAD")[:7] != git(repository, "rev-parse", "one")[:7]
    git(repository, "checkout", "--quiet", "--detach", "one")
    assert revision(repository) == git(repository, "rev-parse", "one")[:7]


@with_git
@pytest.mark.parametrize("packed", [False, True])
def test_a_worktree_has_its_own_commit(repository, tmp_path, packed):
    tree = tmp_path / "tree"
    git(repository, "worktree", "add", "--quiet", "-b", "feature/x", str(tree))
    git(tree, "commit", "--quiet", "--allow-empty", "--message", "second")
    if packed:
        git(repository, "pack-refs", "--all")
    assert revision(tree) == git(tree, "rev-parse", "HEAD")[:7] != revision(repository)


@with_git
def test_a_submodule_has_its_own_commit(repository, tmp_path):
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "--quiet")
    git(outer, "submodule", "--quiet", "add", str(repository), "bot")
    git(outer, "commit", "--quiet", "--message", "outer")
    assert revision(outer / "bot") == revision(repository) != revision(outer)


@with_git
def test_a_repository_without_a_commit_has_no_revision(tmp_path):
    git(tmp_path, "init", "--quiet")
    assert revision(tmp_path) is None


def test_a_commit_of_either_length_is_shortened(written):
    assert revision(written(f"{COMMIT}\n")) == COMMIT[:7]


@pytest.mark.parametrize(
    ("head", "files"),
    [
        ("ref: refs/heads/../../../secret", {}),
        ("ref: /etc/passwd", {}),
        ("ref: refs/heads/main", {"refs__heads__main": "no commit"}),
        ("ref: refs/heads/main", {"refs__heads__main": "ref: refs/heads/main"}),
        ("ref: refs/heads/main", {"packed_refs": f"# pack-refs\n{COMMIT} refs/heads/mainline\n"}),
        ("", {}),
        ("\0\xff" * 9, {}),
        ("0" * 39, {}),
    ],
)
def test_what_leads_to_no_commit_is_no_revision(written, tmp_path, head, files):
    (tmp_path / "secret").write_text(COMMIT)
    assert revision(written(head, **files)) is None


def test_a_reference_may_lead_to_another(written):
    folder = written("ref: refs/heads/a", refs__heads__a="ref: refs/heads/b", packed_refs=f"{COMMIT} refs/heads/b\n")
    assert revision(folder) == COMMIT[:7]


@pytest.mark.parametrize("text", ["", "gitdir: ../gone", "gitdir: \0", "something else"])
def test_a_git_file_without_a_valid_target_is_no_revision(tmp_path, text):
    (tmp_path / ".git").write_text(text)
    assert revision(tmp_path) is None


def test_a_folder_that_is_gone_is_no_revision(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert revision() is None


def test_a_folder_in_no_repository_has_no_revision(tmp_path):
    if any((folder / ".git").exists() for folder in tmp_path.parents):
        pytest.skip("the folder for temporary files is in a repository")
    assert revision(tmp_path) is None


def test_a_pipe_in_the_place_of_head_is_not_waited_for(tmp_path):
    (tmp_path / ".git").mkdir()
    os.mkfifo(tmp_path / ".git" / "HEAD")
    assert revision(tmp_path) is None


def test_a_head_in_another_encoding_is_no_revision(tmp_path):
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_bytes(f"{COMMIT}\n".encode("utf-16"))
    assert revision(tmp_path) is None
