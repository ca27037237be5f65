"""A film's story and the outbox's messages go to JSON and back, whichever version wrote them."""

import json
from dataclasses import fields
from typing import Any

import pytest

from ezrec.domain import events, messages
from ezrec.domain.events import EventKind, PreflightDone, StageChanged, Unknown
from ezrec.domain.messages import MessageKind, StatusReport, UploadAbort, Video

SAMPLES: dict[str, Any] = {"starts_at": 1, "ends_at": 2, "cancelled": True, "before": "booked", "after": "recording",
                           "generation": 2, "reason": "why", "chunk": 7, "rung": "left_only", "error": "broken",
                           "parked_step": "film", "parked_reason": "why", "problems": ("black", "blurred"),
                           "status": "failed", "what": "status", "key": None, "camera": "left", "files": ("a.ts",)}


@pytest.mark.parametrize("known", events.Known.__args__, ids=lambda one: str(one.kind))
def test_every_kind_of_entry_comes_back_as_it_was(known: Any) -> None:
    event = known(**{one.name: SAMPLES[one.name] for one in fields(known)})
    assert events.from_json(event.kind, json.loads(json.dumps(events.to_json(event)))) == event


def test_every_kind_has_a_class_of_its_own() -> None:
    assert sorted(one.kind for one in events.Known.__args__) == sorted(EventKind)


def test_entries_keep_the_keys_that_version_0_1_0_wrote() -> None:
    assert events.to_json(StageChanged("booked", "recording")) == {"from": "booked", "to": "recording"}
    assert events.from_json("pre-flight", {"problems": ["black"]}) == PreflightDone(("black",))


@pytest.mark.parametrize(("kind", "detail"), [("a later kind", {"a": 1}), ("moved", {}), ("stage", {"to": "booked"})])
def test_an_entry_that_is_not_understood_is_kept_as_it_is(kind: str, detail: dict[str, Any]) -> None:
    event = events.from_json(kind, detail)
    assert event == Unknown(kind, detail)
    assert (event.kind, events.to_json(event)) == (kind, detail)


def test_a_key_that_a_later_version_adds_is_left_out() -> None:
    assert events.from_json("pre-flight", {"problems": [], "lens": 1}) == PreflightDone(())


@pytest.mark.parametrize("body", [
    StatusReport("failed", "why"), UploadAbort("key", ""),
    Video("b", "r", "u", "c", "k", "url", None, 1.5, 2, "f.mp4", "2027-01-15", "now")], ids=lambda body: body.kind)
def test_a_message_comes_back_as_it_was_whatever_a_later_version_adds(body: messages.Body) -> None:
    assert messages.from_json(body.kind, messages.to_json(body) | {"colour": "red"}) == body


def test_every_kind_of_message_has_a_body() -> None:
    with pytest.raises(KeyError):
        messages.from_json("unknown", {})
    assert set(MessageKind) == {StatusReport.kind, Video.kind, UploadAbort.kind}


def test_kinds_and_keys_are_stored_under_the_words_of_old_stories() -> None:
    stored = {str(known.kind): sorted(events.to_json(known(**{one.name: SAMPLES[one.name] for one in fields(known)})))
              for known in events.Known.__args__}
    assert stored == {
        "booked": ["ends_at", "starts_at"], "moved": ["ends_at", "starts_at"], "withdrawn": [], "heard too late": [],
        "change refused": ["cancelled", "ends_at", "starts_at"], "footage found": [], "rescued": [],
        "stage": ["from", "to"], "recipe": [], "rendering waits": [],
        "generation": ["generation", "reason"], "fallback": ["chunk", "error", "rung"],
        "footage lost": ["camera", "ends_at", "files", "reason", "starts_at"],
        "parked": ["parked_reason", "parked_step"], "retried": [], "pre-flight begun": [], "pre-flight": ["problems"],
        "told": ["status"], "refused": ["reason", "status", "what"]}
    assert [kind.value for kind in MessageKind] == ["status", "video", "abort"]
