"""What an answer of Supabase means."""

import json

import httpx
import pytest

from ezrec.adapters.supabase.answers import refusal, rows_of
from ezrec.domain.errors import CredentialError, EzrecError, Refused, RetryError

HTML = "<html><body>Please log in</body></html>"


def answer(status: int, body: object, kind: str = "application/json", **headers: str) -> httpx.Response:
    text = body if isinstance(body, str) else json.dumps(body)
    return httpx.Response(status, text=text, headers={"content-type": kind, **headers})


def coded(code: str, message: str = "words", **more: object) -> dict[str, object]:
    return {"code": code, "message": message, "details": None, "hint": None, **more}


RETRIED = [(408, {"message": "x"}), (425, {}), (429, {"message": "Too many requests"}), (500, coded("40001")),
           (500, coded("40P01")), (503, coded("PGRST000")), (503, coded("PGRST001")), (503, coded("PGRST002")),
           (504, coded("PGRST003")), (500, coded("57014")), (503, coded("53300")), (500, coded("XX000")),
           (500, coded("08006")), (400, coded("55P03")), (502, HTML), (520, HTML), (404, {"message": "no Route"}),
           (403, HTML), (404, HTML), (400, HTML), (400, []), (400, ""), (413, {"code": 413, "message": "large"}),
           (302, ""), (307, ""), (403, {"code": "forbidden", "message": "blocked by the firewall"})]
PARKED = ["PGRST204", "PGRST205", "PGRST202", "PGRST116", "PGRST100", "42501", "42P01", "42703", "42P10", "22P02",
          "22023", "23502", "23503", "23505", "23514", "P0001", "42P17"]


@pytest.mark.parametrize(("status", "body"), RETRIED)
def test_what_may_pass_is_tried_again(status: int, body: object) -> None:
    error = refusal(answer(status, body, "text/html" if body == HTML else "application/json", location="http://login/"))
    assert type(error) is RetryError
    assert f"HTTP {status}" in str(error)


def test_what_asks_for_time_is_given_it() -> None:
    error = refusal(answer(429, HTML, "text/html", **{"Retry-After": "17"}))
    assert isinstance(error, RetryError)
    assert error.after_s == 17


@pytest.mark.parametrize("code", PARKED)
def test_a_refusal_may_pass_unless_it_depends_on_what_was_sent(code: str) -> None:
    error = refusal(answer(400, coded(code)))
    assert isinstance(error, Refused)
    assert error.passing == (code not in {"PGRST100", "22P02", "22023", "23502", "23505"})


@pytest.mark.parametrize("code", PARKED)
@pytest.mark.parametrize("status", [400, 403, 404, 409, 500])
def test_what_the_project_refuses_in_its_own_form_is_parked_with_its_words(code: str, status: int) -> None:
    error = refusal(answer(status, coded(code, "no such thing", details="there is none", hint="look again")))
    assert isinstance(error, Refused)
    assert error.code == code
    assert "no such thing there is none look again" in str(error)


@pytest.mark.parametrize(("status", "body"), [
    (401, coded("PGRST301")), (401, coded("PGRST302")), (401, coded("PGRST303")), (500, coded("PGRST300")),
    (401, {"message": "Invalid API key"}), (401, HTML), (401, coded("42501"))])
def test_a_refused_credential_is_tried_again_and_names_the_settings_and_the_clock(status: int, body: object) -> None:
    error = refusal(answer(status, body))
    assert isinstance(error, CredentialError)
    assert "supabase.key" in str(error)
    assert "clock" in str(error)


@pytest.mark.parametrize("code", ["42P10", "PGRST205", "42P01", "PGRST204", "PGRST202"])
def test_a_table_that_is_not_as_it_should_be_names_the_sql_to_run(code: str) -> None:
    assert "`ezrec tables`" in str(refusal(answer(404, coded(code))))


@pytest.mark.parametrize(("code", "message", "column"), [
    ("PGRST204", "Could not find the 'poster_url' column of 'videos' in the schema cache", "poster_url"),
    ("42703", "column bookings.date does not exist", "date"),
    ("42703", 'column "status_at" of relation "bookings" does not exist', "status_at"),
    ("42501", "permission denied for table bookings", None)])
def test_an_unknown_column_is_named(code: str, message: str, column: str | None) -> None:
    error = refusal(answer(400, coded(code, message)))
    assert isinstance(error, Refused)
    assert error.column == column


def test_a_redirect_says_where_to() -> None:
    assert "http://login.example/" in str(refusal(answer(302, "", location="http://login.example/")))


def test_an_endless_foreign_text_is_cut_in_the_message() -> None:
    assert len(str(refusal(answer(400, coded("22P02", "x" * 100_000, details="y" * 100_000))))) < 1000


def check(data: object, response: httpx.Response) -> object:
    try:
        return rows_of(data, response)
    except EzrecError as error:
        return type(error)


@pytest.mark.parametrize(("data", "response"), [
    (HTML, answer(200, HTML, "text/html")), ('[{"id": "5', answer(200, '[{"id": "5')), ([], answer(200, "")),
    ({"id": 1}, answer(200, {"id": 1})), (None, answer(200, None)), (7, answer(200, 7)), ([7], answer(200, [7])),
    ([{"id": 1}, None], answer(200, [{"id": 1}, None])), ([[]], answer(200, [[]]))])
def test_what_is_not_a_list_of_objects_is_no_data(data: object, response: httpx.Response) -> None:
    assert check(data, response) is RetryError


@pytest.mark.parametrize("body", [HTML, '[{"id": "5'])
def test_what_is_not_json_is_said_to_be_so_and_who_may_have_said_it(body: str) -> None:
    with pytest.raises(RetryError, match=r"not JSON.*captive portal"):
        rows_of(body, answer(200, body, "text/html"))


def test_a_list_of_objects_is_data_even_if_it_is_empty() -> None:
    assert check([{"id": 1}], answer(200, [{"id": 1}])) == [{"id": 1}]
    assert check([], answer(200, [])) == []
    assert check([], answer(204, "")) == []
