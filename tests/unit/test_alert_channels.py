"""What channels send, how webhooks are signed and mail is protected, and what they say where it is not taken."""

from __future__ import annotations

import base64
import datetime as dt
import json
import stat
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from analyzers import honest
from analyzers.alerts import Event
from analyzers.window import Window
from collector.alerts.channels import File, Stdout
from collector.alerts.delivery import send
from collector.alerts.mail import Email
from collector.alerts.message import Message, of_event
from collector.alerts.undelivered import Undelivered
from collector.alerts.webhook import Webhook, signed
from collector.config_alerts import EmailConfig, WebhookConfig
from tests.alert_support import Hook, authority, hook, is_signed, mail_server

SECRET = "a-secret-of-some-length"
NOW = dt.datetime(2026, 3, 10, 12, tzinfo=dt.UTC)


def message(title: str = "spend: 6.500000 USD on 2026-03-10, above 5 USD") -> Message:
    event = Event(
        "spend",
        "daily_spend",
        {"day": "2026-03-10"},
        title,
        Window(NOW - dt.timedelta(days=1), NOW),
        once=True,
        evidence={"spend": honest.Amount("api", Decimal("6.500000000001")), "calls": 3},
        caveats=("calls whose cost is not known: 1; the spend is at least this",),
    )
    return of_event(event, NOW)


@pytest.fixture
def receiver() -> Iterator[Hook]:
    with hook() as received:
        yield received


def webhook(received: Hook, **settings: Any) -> Webhook:
    return Webhook(WebhookConfig(name="hook", url=received.url, **{"secret": SECRET, **settings}))


def attempt(channel: Any, sent: Message) -> tuple[str | None, list[float]]:
    """Why it was not taken, and how long was waited between attempts."""
    pauses: list[float] = []
    return send(channel, sent, pauses.append), pauses


def test_the_document_has_the_figures_with_all_digits_under_their_names() -> None:
    document = json.loads(message().body, parse_float=Decimal)
    assert (document["type"], document["timestamp"]) == ("alert", "2026-03-10T12:00:00Z")
    assert document["data"]["evidence"]["spend"] == {
        "pricing_mode": "api",
        "spend_usd": Decimal("6.500000000001"),
    }
    assert document["data"]["caveats"] == ["calls whose cost is not known: 1; the spend is at least this"]
    assert document["id"] == message().id


# --- webhook


def test_a_webhook_is_signed_over_id_time_and_body(receiver: Hook) -> None:
    """Guarantee: who has the secret can check it, with another secret, body or time it does not hold."""
    assert attempt(webhook(receiver), message()) == (None, [])
    ((headers, body),) = receiver.requests
    assert body.decode() == message().body
    assert headers["webhook-id"] == message().id
    assert headers["content-type"] == "application/json"
    assert is_signed(headers, body, SECRET.encode())
    assert not is_signed(headers, body + b" ", SECRET.encode())
    assert not is_signed(headers, body, b"another")
    assert not is_signed(headers | {"webhook-timestamp": "1"}, body, SECRET.encode())


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """The example of the specification's own libraries: id, time, body and secret with their signature."""
    headers = signed(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        b'{"test": 2432232314}',
        1614265330,
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_secret_that_is_no_base64_after_its_prefix_is_told(receiver: Hook) -> None:
    reason, _ = attempt(webhook(receiver, secret="whsec_this is no base64".replace(" ", "-")), message())
    assert reason is not None
    assert "not base64" in reason
    assert receiver.requests == []


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
def test_trouble_of_the_moment_is_tried_again_with_the_same_id_and_bytes(receiver: Hook, status: int) -> None:
    receiver.answers = [(status, {}), (status, {"Retry-After": "7"})]
    assert attempt(webhook(receiver), message()) == (None, [1.0, 7.0])
    assert len(set(receiver.ids())) == 1
    assert len({body for _, body in receiver.requests}) == 1


@pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 404, 410])
def test_a_refusal_and_a_redirect_are_not_tried_again(receiver: Hook, status: int) -> None:
    """Guarantee: what is signed for one address is not carried to another."""
    receiver.answers = [(status, {"Location": receiver.url})]
    reason, pauses = attempt(webhook(receiver), message())
    assert reason is not None
    assert (reason.split()[1], pauses, len(receiver.requests)) == (str(status), [], 1)


def test_a_long_wait_is_left_to_the_next_look(receiver: Hook) -> None:
    receiver.answers = [(503, {"Retry-After": "3600"})]
    assert attempt(webhook(receiver), message()) == ("answered 503 Service Unavailable", [])


def test_after_three_attempts_it_is_said_why_without_the_address(receiver: Hook) -> None:
    receiver.answers = [(500, {})] * 5
    reason, pauses = attempt(webhook(receiver), message())
    assert (reason, pauses) == ("answered 500 Internal Server Error", [1.0, 4.0])


def test_nobody_there_and_nobody_answering(receiver: Hook) -> None:
    """Guarantee: an end within the timeout; neither the address's path nor the secret is told."""
    gone = Hook(port=1)
    slow = webhook(receiver, timeout_seconds=0.2)
    receiver.before_answer = lambda: __import__("time").sleep(0.6)
    for channel in (webhook(gone), slow):
        with pytest.raises(Undelivered) as caught:
            channel.send(message())
        assert caught.value.again
        assert "127.0.0.1" in str(caught.value)
        assert "hidden" not in str(caught.value)


def test_https_needs_a_certificate_that_is_vouched_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, ca = authority(tmp_path)
    with hook(context) as received:
        config = WebhookConfig(name="hook", url=f"https://127.0.0.1:{received.port}/", secret=SECRET)
        with pytest.raises(Undelivered, match="CERTIFICATE_VERIFY_FAILED"):
            Webhook(config).send(message())
        assert received.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(ca))
        Webhook(config).send(message())
        assert received.ids() == [message().id]


def test_a_secret_is_read_anew_from_its_file(receiver: Hook, tmp_path: Path) -> None:
    """Scenario: the secret is renewed. Guarantee: the next message is signed by the new one; a lost file is told."""
    path = tmp_path / "secret"
    channel = webhook(receiver, secret=None, secret_file=path)
    for secret in ("the-first-secret-1", "the-second-secret"):
        path.write_text(secret + "\n")
        assert attempt(channel, message())[0] is None
        assert is_signed(*receiver.requests[-1], secret.encode())
    path.unlink()
    reason, _ = attempt(channel, message())
    assert reason is not None
    assert "secret_file of webhook 'hook'" in reason


# --- e-mail


def email(port: int, **settings: Any) -> Email:
    values = {"name": "mail", "host": "127.0.0.1", "port": port, "sender": "spanledger@example.com"}
    return Email(EmailConfig(**{**values, "to": ("a@example.com", "b@example.com"), **settings}))


def test_a_mail_says_what_and_what_qualifies_it() -> None:
    with mail_server() as box:
        assert attempt(email(box.port, encryption="none"), message()) == (None, [])
    ((recipients, mail),) = box.mails
    assert recipients == ["a@example.com", "b@example.com"]
    assert mail["Subject"] == "[spanledger] spend: 6.500000 USD on 2026-03-10, above 5 USD"
    assert mail["Message-ID"] == f"<{message().id}@example.com>"
    assert mail["Auto-Submitted"] == "auto-generated"
    text = mail.get_payload(decode=True).decode()  # type: ignore[union-attr]
    assert "note: calls whose cost is not known: 1; the spend is at least this" in text
    assert '{"pricing_mode": "api", "spend_usd": "6.500000000001"}' in text
    assert "calls from 2026-03-09T12:00:00Z to 2026-03-10T12:00:00Z" in text


@pytest.mark.parametrize("encryption", ["starttls", "tls"])
def test_mail_and_login_go_over_tls_alone(
    encryption: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, ca = authority(tmp_path)
    with mail_server(context, from_the_start=encryption == "tls", password="pass word") as box:
        channel = email(box.port, encryption=encryption, username="me", password="pass word")
        with pytest.raises(Undelivered, match="CERTIFICATE_VERIFY_FAILED"):
            channel.send(message())
        assert (box.logins, box.mails) == ([], [])
        monkeypatch.setenv("SSL_CERT_FILE", str(ca))
        channel.send(message())
        assert (box.logins, box.was_encrypted) == ([("me", "pass word")], [True])


def test_a_server_without_starttls_gets_nothing() -> None:
    """Guarantee: neither the password nor the alert is sent in the clear because somebody took the offer away."""
    with mail_server(password="secret") as box:
        reason, _ = attempt(email(box.port, username="me", password="secret"), message())
        assert reason is not None
        assert "STARTTLS" in reason
        assert (box.logins, box.mails) == ([], [])


def test_a_refused_login_does_not_repeat_the_password() -> None:
    with mail_server(password="right") as box:
        channel = email(box.port, encryption="none", username="me", password="wrong-one")
        assert attempt(channel, message()) == ("127.0.0.1 refused the login", [])


@pytest.mark.parametrize(
    ("answer", "pauses", "reason"),
    [("451 later", [1.0], None), ("550 never", [], "127.0.0.1 answered 550")],
)
def test_replies_of_the_moment_are_tried_again_and_others_not(
    answer: str, pauses: list[float], reason: str | None
) -> None:
    with mail_server() as box:
        box.answers["MAIL"] = [answer]
        assert attempt(email(box.port, encryption="none"), message()) == (reason, pauses)
        assert len(box.mails) == (reason is None)


def test_a_title_cannot_add_headers_or_lines() -> None:
    """Scenario: an agent's name, which senders choose, holds line ends and a header."""
    evil = message("calls failed, agent x\r\nBcc: all@example.com\r\n\r\nbody\x07" + "y" * 500)
    with mail_server() as box:
        email(box.port, encryption="none").send(evil)
    ((recipients, mail),) = box.mails
    assert recipients == ["a@example.com", "b@example.com"]
    assert mail["Bcc"] is None
    assert "x Bcc: all@example.com body" in mail["Subject"]
    assert len(mail["Subject"]) <= 200


# --- here


def test_a_file_gets_one_line_each_and_is_its_owners(tmp_path: Path) -> None:
    channel = File(tmp_path / "alerts.jsonl")
    channel.send(message())
    channel.send(message("no agent\nfailed"))
    lines = channel.path.read_text().splitlines()
    assert [json.loads(line)["data"]["title"] for line in lines] == [
        json.loads(message().body)["data"]["title"],
        "no agent\nfailed",
    ]
    assert stat.S_IMODE(channel.path.stat().st_mode) == 0o600


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    reason, _ = attempt(File(tmp_path / "missing" / "alerts.jsonl"), message())
    assert reason is not None
    assert "No such file or directory" in reason


def test_standard_output_gets_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    Stdout().send(message())
    assert capsys.readouterr().out == message().body + "\n"


def test_a_random_secret_of_the_specification_works(receiver: Hook) -> None:
    key = bytes(range(24))
    secret = "whsec_" + base64.b64encode(key).decode()
    assert attempt(webhook(receiver, secret=secret), message())[0] is None
    assert is_signed(*receiver.requests[0], key)
