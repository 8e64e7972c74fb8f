"""Small text files that people write, in every shape in which they arrive."""

import os
import socket
import threading
from pathlib import Path

import pytest

from cogmeter.settings import text_file
from cogmeter.settings.text_file import TextFileError, encoding_of, read_start, read_text

MOST = 1_000
TEXT = "A=caf\u00e9\r\nB=2\n"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "settings"


def complaint(path):
    with pytest.raises(TextFileError) as raised:
        read_text(path, MOST)
    text = str(raised.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    return text.removeprefix(f"{path} ")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_utf_8_and_utf_16_with_its_mark_are_read(path, encoding):
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    path.write_bytes((mark + TEXT).encode(encoding))
    assert read_text(path, MOST) == TEXT


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("# one\n# caf\u00e9\n".encode("cp1252"), "line 2 is not UTF-8 (byte 0xe9, perhaps Windows-1252). Save"),
        (b"A=1\nB=\0\n", "line 2 contains a NUL byte"),
        ("A=1\n".encode("utf-16-le"), "line 1 contains a NUL byte. Save the file as UTF-8"),
        ("A=1\n".encode("utf-32"), "line 1 contains a NUL byte"),
        (b"\xff\xfeA\0=", "starts as UTF-16 text, but is not valid UTF-16"),
        (b"x" * (MOST + 1), "has more than 0 KiB"),
        (b"A=\xed\xa0\x80\n", "line 1 is not UTF-8"),  # half a surrogate pair
    ],
)
def test_what_is_no_text_of_that_kind_is_refused_with_its_place(path, data, said):
    path.write_bytes(data)
    assert said in complaint(path)


def test_a_folder_a_socket_and_links_in_a_circle_are_named_as_what_they_are(path, tmp_path, monkeypatch):
    path.mkdir()
    assert complaint(path).startswith("is a folder, not a text file")
    path.rmdir()
    monkeypatch.chdir(tmp_path)  # the address of a socket may have 108 bytes
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)
        assert complaint(path).startswith("is a socket")
    path.unlink()
    path.symlink_to(path)
    assert complaint(path) == (
        "cannot be read: Too many levels of symbolic links. Replace the links by the file itself."
    )


def test_a_missing_file_and_a_link_to_nothing_are_not_there(path):
    with pytest.raises(FileNotFoundError):
        read_text(path, MOST)
    path.symlink_to("nowhere")
    with pytest.raises(FileNotFoundError):
        read_text(path, MOST)


def test_a_device_is_refused_unread():
    with pytest.raises(TextFileError, match="/dev/zero is a device, not a text file"):
        read_text(Path("/dev/zero"), MOST)


def test_a_pipe_without_a_writer_is_not_waited_for(path, monkeypatch):
    monkeypatch.setattr(text_file, "PIPE_S", 0.05)
    os.mkfifo(path)
    assert complaint(path) == "is a pipe, and its text did not arrive within 0.05 s. Use a file."


def test_a_pipe_is_read_to_its_end(path, monkeypatch):
    monkeypatch.setattr(text_file, "PIPE_S", 60.0)
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(TEXT.encode(),))
    writer.start()
    assert read_text(path, MOST) == TEXT
    writer.join()


def test_a_pipe_that_never_ends_is_read_up_to_the_limit(path, monkeypatch):
    monkeypatch.setattr(text_file, "PIPE_S", 60.0)
    os.mkfifo(path)
    ours = os.open(path, os.O_RDWR)  # keeps the pipe open behind what is in it
    os.write(ours, b"x" * (MOST + 1))
    assert "has more than" in complaint(path)
    os.close(ours)


def test_the_start_of_a_file_is_read_and_a_pipe_in_its_place_is_not(path):
    path.write_bytes(b"0123456789")
    assert read_start(path, 4) == b"0123"
    assert read_start(path, 40) == b"0123456789"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(TextFileError, match="is a pipe, not a text file"):
        read_start(path, 4)


def test_the_encoding_is_seen_from_the_mark():
    assert [encoding_of(start) for start in (b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf{", b"", b"{")] == [
        *["utf-16"] * 2,
        *["utf-8-sig"] * 3,
    ]
