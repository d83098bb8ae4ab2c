"""The dev inbox, filled and read by threads and processes."""

import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage, Message
from pathlib import Path

import pytest

from auth_service.adapters.email.dev_inbox import DevInbox
from auth_service.adapters.email.transport import MailDeferred, MailTransport
from auth_service.services.email import rendering as letters

TO = "ada@example.org"


@pytest.fixture
def inbox(tmp_path: Path) -> DevInbox:
    return DevInbox(tmp_path / "data" / "inbox")


def code_letter(code: str = "7505", language: str = "en", service: str = "Portal", to: str = TO) -> Message:
    return letters.render(
        "registration_code",
        language,
        to=to,
        sender="no-reply@example.org",
        message_id=f"<{code}@example.org>",
        date=datetime.now(UTC),
        values={"code": code, "minutes": 10, "service": service},
    )


def note(subject: str, text: str) -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = subject
    message.set_content(text)
    return message


@pytest.mark.clock
@pytest.mark.parametrize("language", letters.LANGUAGES)
def test_a_letter_is_found_as_it_was_sent(inbox: DevInbox, language: str) -> None:
    before = datetime.now(UTC)
    transport: MailTransport = inbox
    transport.send(code_letter(language=language, service="Портал"), to=TO)

    [letter] = inbox.letters()

    assert letter.to == TO
    assert letter.code == "7505"
    assert letter.language == language
    assert letter.message_id == "<7505@example.org>"
    assert letter.subject.startswith("7505 ")
    assert "\n\n7505\n\n" in letter.text
    assert letter.html.startswith("<!DOCTYPE html>\n")
    assert "Портал" in letter.text
    assert "Портал" in letter.html
    assert before - timedelta(milliseconds=1) <= letter.received_at <= datetime.now(UTC)
    assert letter.received_at.utcoffset() == timedelta(0)


def test_the_newest_come_first_and_no_more_than_asked_for(inbox: DevInbox) -> None:
    for number in range(7500, 7512):
        inbox.put(code_letter(str(number)), to=TO)

    assert [letter.code for letter in inbox.letters()] == [str(number) for number in range(7511, 7499, -1)]
    assert [letter.code for letter in inbox.letters(limit=2)] == ["7511", "7510"]
    assert inbox.letters(limit=0) == []


def test_names_are_ordered_as_numbers(inbox: DevInbox, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "inbox" / "new"
    for code, name in (
        ("1111", "1700000000.M9P7Q1.host"),
        ("2222", "1700000000.M10P7Q9.host"),
        ("3333", "1700000000.M10P7Q10.host"),
    ):
        inbox.put(code_letter(code), to=TO)
        next(path for path in folder.iterdir() if not path.name.startswith("17000000")).rename(folder / name)

    assert [letter.code for letter in inbox.letters()] == ["3333", "2222", "1111"]
    assert inbox.letters()[2].received_at == datetime(2023, 11, 14, 22, 13, 20, 9, tzinfo=UTC)


def test_letters_are_asked_for_by_the_address_that_they_were_delivered_to(inbox: DevInbox) -> None:
    inbox.put(code_letter("1111", to="someone@example.org"), to=TO)
    inbox.put(code_letter("2222", to=TO), to="eve@example.org")
    inbox.put(code_letter("3333"), to="ADA@example.org")

    assert [letter.code for letter in inbox.letters(to="Ada@Example.org")] == ["3333", "1111"]
    assert [letter.code for letter in inbox.letters(to="eve@example.org")] == ["2222"]
    assert [letter.code for letter in inbox.letters(to="ada@example.org", limit=1)] == ["3333"]
    assert inbox.letters(to="ada@example.or") == []


@pytest.mark.parametrize(
    ("subject", "text", "code"),
    [
        ("7505 is your code", "Hello,\n\n7505\n", "7505"),
        ("00750512 is your code", "00750512\n", "00750512"),
        ("7505 is your code", "Your code is 7505.\n", None),
        ("2026 in review", "It was a year.\n", None),
        ("Your code", "7505\n", None),
        ("Your code is 7505", "7505\n", None),
        ("750 is too short", "750\n", None),
        ("123456789 is too long", "123456789\n", None),
        ("٧٥٠٥ is not ASCII", "٧٥٠٥\n", None),
        ("7505", "7505\n", None),
    ],
)
def test_only_a_code_is_taken_for_a_code(inbox: DevInbox, subject: str, text: str, code: str | None) -> None:
    inbox.put(note(subject, text), to=TO)

    assert [letter.code for letter in inbox.letters()] == [code]


def test_a_letter_without_the_usual_headers_is_shown_all_the_same(inbox: DevInbox) -> None:
    message = EmailMessage()
    message.set_content("Hello.\n")
    inbox.put(message, to=TO)

    [letter] = inbox.letters()

    assert (letter.subject, letter.text, letter.html, letter.language, letter.message_id, letter.code) == (
        "",
        "Hello.\n",
        "",
        "",
        "",
        None,
    )


def test_the_code_is_not_in_the_repr(inbox: DevInbox) -> None:
    message = code_letter()
    message.replace_header("Message-ID", "<1@example.org>")
    inbox.put(message, to=TO)

    assert "7505" not in repr(inbox.letters())


def test_an_inbox_without_letters_is_empty_even_before_it_exists(inbox: DevInbox) -> None:
    assert inbox.letters() == []
    inbox.clear()
    assert inbox.letters() == []


def test_clearing_throws_everything_away_also_what_a_mail_reader_has_seen(inbox: DevInbox, tmp_path: Path) -> None:
    inbox.put(code_letter("1111"), to=TO)
    inbox.put(code_letter("2222"), to=TO)
    folder = tmp_path / "data" / "inbox"
    seen = min((folder / "new").iterdir())
    seen.rename(folder / "cur" / f"{seen.name}:2,S")
    assert [letter.code for letter in inbox.letters()] == ["2222", "1111"]

    inbox.clear()

    assert inbox.letters() == []
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_files_that_are_no_letters_are_left_alone(inbox: DevInbox, tmp_path: Path) -> None:
    inbox.put(code_letter(), to=TO)
    stray = tmp_path / "data" / "inbox" / "new" / ".DS_Store"
    stray.write_bytes(b"\xff")

    assert len(inbox.letters()) == 1
    inbox.clear()
    assert stray.exists()


def test_the_folder_is_for_its_owner_alone(inbox: DevInbox, tmp_path: Path) -> None:
    inbox.put(code_letter(), to=TO)

    folder = tmp_path / "data" / "inbox"
    assert {path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())} == {0o700}


def test_a_folder_that_was_removed_is_made_again(inbox: DevInbox, tmp_path: Path) -> None:
    inbox.put(code_letter(), to=TO)
    (tmp_path / "data" / "inbox").rename(tmp_path / "moved")

    assert inbox.letters() == []
    inbox.put(code_letter(), to=TO)
    assert len(inbox.letters()) == 1


def test_a_folder_that_cannot_be_written_defers_the_letter(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(MailDeferred, match="cannot be written"):
        DevInbox(tmp_path / "file" / "inbox").send(code_letter(), to=TO)


def test_an_address_of_two_lines_writes_no_header(inbox: DevInbox) -> None:
    with pytest.raises(ValueError, match="one line"):
        inbox.put(code_letter(), to="ada@example.org\nX-Evil: 1")

    assert inbox.letters() == []


FILLER = """
import sys
from email.message import EmailMessage, Message
from pathlib import Path
from auth_service.adapters.email.dev_inbox import DevInbox

inbox = DevInbox(Path(sys.argv[1]))
for number in range(20):
    message = EmailMessage()
    message["Subject"] = f"{sys.argv[2]}.{number}"
    message.set_content("Hello.")
    inbox.put(message, to="ada@example.org")
"""


def test_processes_and_threads_fill_it_while_it_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "inbox"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    fillers = [
        subprocess.Popen([sys.executable, "-c", FILLER, str(folder), f"process {number}"], env=environment)
        for number in range(3)
    ]

    def fill(name: str) -> None:
        own = DevInbox(folder)
        for number in range(20):
            own.put(note(f"{name}.{number}", "Hello."), to=TO)

    threads = [threading.Thread(target=fill, args=(f"thread {number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    inbox = DevInbox(folder)
    while any(filler.poll() is None for filler in fillers) or any(thread.is_alive() for thread in threads):
        assert all(letter.text == "Hello.\n" for letter in inbox.letters())

    assert [filler.returncode for filler in fillers] == [0, 0, 0]
    subjects = [letter.subject for letter in inbox.letters(limit=1000)]
    assert sorted(subjects) == sorted(
        f"{kind} {number}.{count}" for kind in ("process", "thread") for number in range(3) for count in range(20)
    )


def test_reading_and_clearing_at_once_disturb_neither(tmp_path: Path) -> None:
    inbox, other = DevInbox(tmp_path), DevInbox(tmp_path)
    stop = threading.Event()

    def clear() -> None:
        while not stop.is_set():
            other.clear()

    clearer = threading.Thread(target=clear)
    clearer.start()
    try:
        for _ in range(100):
            inbox.put(code_letter(), to=TO)
            assert {letter.code for letter in inbox.letters(to=TO)} <= {"7505"}
    finally:
        stop.set()
        clearer.join()
