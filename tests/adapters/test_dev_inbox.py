"""Dev inbox: emails in a Maildir, written and read by concurrent threads and processes."""

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
from auth_service.services.email import rendering

TO = "ada@example.org"


@pytest.fixture
def inbox(tmp_path: Path) -> DevInbox:
    return DevInbox(tmp_path / "data" / "inbox")


def code_email(code: str = "7505", language: str = "en", service: str = "Portal", to: str = TO) -> Message:
    return rendering.render(
        "registration_code",
        language,
        to=to,
        sender="no-reply@example.org",
        message_id=f"<{code}@example.org>",
        date=datetime.now(UTC),
        values={"code": code, "minutes": 10, "service": service},
    )


def plain_email(subject: str, text: str) -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = subject
    message.set_content(text)
    return message


@pytest.mark.clock
@pytest.mark.parametrize("language", rendering.LANGUAGES)
def test_an_email_is_read_as_it_was_sent(inbox: DevInbox, language: str) -> None:
    before = datetime.now(UTC)
    transport: MailTransport = inbox
    transport.send(code_email(language=language, service="Портал"), to=TO)

    [email] = inbox.messages()

    assert email.to == TO
    assert email.code == "7505"
    assert email.language == language
    assert email.message_id == "<7505@example.org>"
    assert email.subject.startswith("7505 ")
    assert "\n\n7505\n\n" in email.text
    assert email.html.startswith("<!DOCTYPE html>\n")
    assert "Портал" in email.text
    assert "Портал" in email.html
    assert before - timedelta(milliseconds=1) <= email.received_at <= datetime.now(UTC)
    assert email.received_at.utcoffset() == timedelta(0)


def test_the_newest_emails_come_first_up_to_the_limit(inbox: DevInbox) -> None:
    for number in range(7500, 7512):
        inbox.put(code_email(str(number)), to=TO)

    assert [email.code for email in inbox.messages()] == [str(number) for number in range(7511, 7499, -1)]
    assert [email.code for email in inbox.messages(limit=2)] == ["7511", "7510"]
    assert inbox.messages(limit=0) == []


def test_file_names_are_ordered_as_numbers(inbox: DevInbox, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "inbox" / "new"
    for code, name in (
        ("1111", "1700000000.M9P7Q1.host"),
        ("2222", "1700000000.M10P7Q9.host"),
        ("3333", "1700000000.M10P7Q10.host"),
    ):
        inbox.put(code_email(code), to=TO)
        next(path for path in folder.iterdir() if not path.name.startswith("17000000")).rename(folder / name)

    assert [email.code for email in inbox.messages()] == ["3333", "2222", "1111"]
    assert inbox.messages()[2].received_at == datetime(2023, 11, 14, 22, 13, 20, 9, tzinfo=UTC)


def test_emails_are_filtered_by_the_address_of_the_envelope(inbox: DevInbox) -> None:
    inbox.put(code_email("1111", to="someone@example.org"), to=TO)
    inbox.put(code_email("2222", to=TO), to="eve@example.org")
    inbox.put(code_email("3333"), to="ADA@example.org")

    assert [email.code for email in inbox.messages(to="Ada@Example.org")] == ["3333", "1111"]
    assert [email.code for email in inbox.messages(to="eve@example.org")] == ["2222"]
    assert [email.code for email in inbox.messages(to="ada@example.org", limit=1)] == ["3333"]
    assert inbox.messages(to="ada@example.or") == []


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
def test_only_a_code_in_subject_and_text_is_read_as_the_code(
    inbox: DevInbox, subject: str, text: str, code: str | None
) -> None:
    inbox.put(plain_email(subject, text), to=TO)

    assert [email.code for email in inbox.messages()] == [code]


def test_an_email_without_the_usual_headers_is_shown(inbox: DevInbox) -> None:
    message = EmailMessage()
    message.set_content("Hello.\n")
    inbox.put(message, to=TO)

    [email] = inbox.messages()

    assert (email.subject, email.text, email.html, email.language, email.message_id, email.code) == (
        "",
        "Hello.\n",
        "",
        "",
        "",
        None,
    )


def test_the_code_is_not_in_the_repr(inbox: DevInbox) -> None:
    message = code_email()
    message.replace_header("Message-ID", "<1@example.org>")
    inbox.put(message, to=TO)

    assert "7505" not in repr(inbox.messages())


def test_an_inbox_without_emails_is_empty_even_before_its_folder_exists(inbox: DevInbox) -> None:
    assert inbox.messages() == []
    inbox.clear()
    assert inbox.messages() == []


def test_clearing_deletes_every_email_also_those_that_a_mail_client_has_read(inbox: DevInbox, tmp_path: Path) -> None:
    inbox.put(code_email("1111"), to=TO)
    inbox.put(code_email("2222"), to=TO)
    folder = tmp_path / "data" / "inbox"
    read_email = min((folder / "new").iterdir())
    read_email.rename(folder / "cur" / f"{read_email.name}:2,S")
    assert [email.code for email in inbox.messages()] == ["2222", "1111"]

    inbox.clear()

    assert inbox.messages() == []
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_files_that_are_no_emails_are_ignored(inbox: DevInbox, tmp_path: Path) -> None:
    inbox.put(code_email(), to=TO)
    other_file = tmp_path / "data" / "inbox" / "new" / ".DS_Store"
    other_file.write_bytes(b"\xff")

    assert len(inbox.messages()) == 1
    inbox.clear()
    assert other_file.exists()


def test_only_the_owner_can_read_the_folder(inbox: DevInbox, tmp_path: Path) -> None:
    inbox.put(code_email(), to=TO)

    folder = tmp_path / "data" / "inbox"
    assert {path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())} == {0o700}


def test_a_removed_folder_is_created_again(inbox: DevInbox, tmp_path: Path) -> None:
    inbox.put(code_email(), to=TO)
    (tmp_path / "data" / "inbox").rename(tmp_path / "moved")

    assert inbox.messages() == []
    inbox.put(code_email(), to=TO)
    assert len(inbox.messages()) == 1


def test_a_folder_that_cannot_be_written_defers_the_email(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(MailDeferred, match="cannot be written"):
        DevInbox(tmp_path / "file" / "inbox").send(code_email(), to=TO)


def test_an_address_with_a_line_break_cannot_inject_a_header(inbox: DevInbox) -> None:
    with pytest.raises(ValueError, match="unprintable"):
        inbox.put(code_email(), to="ada@example.org\nX-Evil: 1")

    assert inbox.messages() == []


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


def test_emails_of_concurrent_processes_and_threads_are_read_whole(tmp_path: Path) -> None:
    folder = tmp_path / "inbox"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    fillers = [
        subprocess.Popen([sys.executable, "-c", FILLER, str(folder), f"process {number}"], env=environment)
        for number in range(3)
    ]

    def fill(name: str) -> None:
        own = DevInbox(folder)
        for number in range(20):
            own.put(plain_email(f"{name}.{number}", "Hello."), to=TO)

    threads = [threading.Thread(target=fill, args=(f"thread {number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    inbox = DevInbox(folder)
    while any(filler.poll() is None for filler in fillers) or any(thread.is_alive() for thread in threads):
        assert all(email.text == "Hello.\n" for email in inbox.messages())

    assert [filler.returncode for filler in fillers] == [0, 0, 0]
    subjects = [email.subject for email in inbox.messages(limit=1000)]
    assert sorted(subjects) == sorted(
        f"{kind} {number}.{count}" for kind in ("process", "thread") for number in range(3) for count in range(20)
    )


def test_concurrent_reading_and_clearing_do_not_fail(tmp_path: Path) -> None:
    inbox, other = DevInbox(tmp_path), DevInbox(tmp_path)
    stop = threading.Event()

    def clear() -> None:
        while not stop.is_set():
            other.clear()

    clearer = threading.Thread(target=clear)
    clearer.start()
    try:
        for _ in range(100):
            inbox.put(code_email(), to=TO)
            assert {email.code for email in inbox.messages(to=TO)} <= {"7505"}
    finally:
        stop.set()
        clearer.join()
