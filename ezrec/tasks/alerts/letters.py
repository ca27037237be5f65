"""What people and machines read of an alert: the same facts as JSON and as a letter."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any
from uuid import uuid4

from ezrec.adapters.mail import Letter
from ezrec.config import Settings
from ezrec.domain.alerts import REMEDIES, Alert
from ezrec.domain.clock import utc_text
from ezrec.store.alerts import Notice

WEBHOOK, MAIL = "webhook", "mail"


def channels(settings: Settings) -> list[tuple[str, str]]:
    """Where alerts are sent: each channel with its recipient."""
    return [*([(WEBHOOK, "")] if settings.alerts.webhook else []), *((MAIL, one) for one in settings.alerts.mail_to)]


def notices(settings: Settings, event: str, alert: Alert, at_us: int,
            new_id: Callable[[], str] = lambda: uuid4().hex) -> Iterable[Notice]:
    """What is to be sent of an alert that has `begun` or is `over` (or of a `test`), to each channel."""
    body = facts(settings, event, alert, at_us)
    for channel, recipient in channels(settings):
        yield Notice(new_id(), channel, recipient, body if channel == WEBHOOK else _letter(settings, body))


def facts(settings: Settings, event: str, alert: Alert, at_us: int) -> dict[str, Any]:
    """An alert for machines. Times are ISO 8601 in UTC."""
    return {"event": event, "kind": str(alert.kind), "about": alert.about, "text": alert.text,
            "remedy": REMEDIES[alert.kind], "since": utc_text(alert.since_at), "at": utc_text(at_us),
            "user_id": settings.site.user_id, "camera_id": settings.site.camera_id, "site": settings.site.name}


def _letter(settings: Settings, body: dict[str, Any]) -> dict[str, Any]:
    court = settings.site.name or settings.site.camera_id
    what = f"{body['kind']} {body['about']}".strip()
    subject = {"begun": f"{court}: {what}", "over": f"{court}: over: {what}", "test": f"{court}: a test"}[body["event"]]
    lines = [body["text"], "", *([] if body["event"] == "over" else [f"What to do: {body['remedy']}", ""]),
             f"Court: {court}", f"Since: {body['since']}"]
    if body["event"] == "over":
        lines.append(f"Over since: {body['at']}")
    return {"subject": subject, "text": "\n".join(lines) + "\n", "written_at": body["at"]}


def letter_of(notice: Notice) -> Letter:
    """A notice of the channel `mail` as a letter.

    Raises:
        KeyError, ValueError: it is none.
    """
    body = notice.body
    return Letter(notice.id, notice.recipient, str(body["subject"]), str(body["text"]),
                  datetime.fromisoformat(str(body["written_at"])), str(body.get("html", "")))
