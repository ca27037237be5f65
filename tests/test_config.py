"""Settings: who overrides whom, what is refused and in which words, and that no secret ever shows."""

import json
import re
import time
import tomllib
import traceback
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from ezrec.config import LogoSettings, Settings, exposed, load, loading
from ezrec.config.doubts import doubts
from ezrec.config.legacy import LOGO_NAMES, OLDER_NAMES
from ezrec.config.places import LEGACY_NAMES, LEGACY_SECRETS, OWN, QUALITIES
from ezrec.config.sections import KEYS, SECRETS
from ezrec.domain.errors import SettingsError

EXAMPLE = Path(__file__).parent.parent / "config.example.toml"
SECRET = "s3cr3t-Zq-8841"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and no settings of the machine's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "SYSTEM_FILE", tmp_path / "etc" / "config.toml")
    return tmp_path


def problems(**given: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(**({"env": {}} | given))
    return str(caught.value).splitlines()


def problem(**given: Any) -> str:
    (only,) = problems(**given)
    return only


def toml(text: str, path: str = "config.toml") -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    return Path(path)


# ---- places


def test_without_any_file_everything_is_default() -> None:
    settings = load(env={})
    assert settings == Settings()
    assert {source for _, _, source in settings.describe()} == {"default"}


def test_each_place_goes_over_the_one_below(here: Path) -> None:
    credentials = here / "credentials"
    credentials.mkdir()
    env = {"CREDENTIALS_DIRECTORY": str(credentials)}
    base = {"SUPABASE_URL": "https://x.example"}

    def seen(over: dict[str, str], overrides: dict[str, Any] | None = None) -> tuple[str, str]:
        settings = load(env=env | base | over, overrides=overrides)
        source = next(source for key, _, source in settings.describe() if key == "supabase.key")
        return settings.supabase.key.get_secret_value(), source

    toml('[supabase]\nkey = "1"\n')
    assert seen({}) == ("1", "config.toml")
    (credentials / "supabase.key").write_text("2\n")
    assert seen({}) == ("2", "credential supabase.key")
    documents = {"SUPABASE_SERVICE_ROLE_KEY": "3"}
    assert seen(documents) == ("3", "SUPABASE_SERVICE_ROLE_KEY in the environment")
    own = documents | {"EZREC_SUPABASE__KEY": "4"}
    assert seen(own) == ("4", "EZREC_SUPABASE__KEY in the environment")
    Path(".env").write_text("SUPABASE_SERVICE_ROLE_KEY=5\n")
    assert seen(own) == ("5", "SUPABASE_SERVICE_ROLE_KEY in .env")
    Path(".env").write_text("SUPABASE_SERVICE_ROLE_KEY=5\nEZREC_SUPABASE__KEY=6\n")
    assert seen(own) == ("6", "EZREC_SUPABASE__KEY in .env")
    assert seen(own, {"supabase": {"key": "7"}}) == ("7", "given by the command")


def test_the_file_is_looked_for_in_order(here: Path) -> None:
    toml('[site]\nname = "system"', "etc/config.toml")
    assert load(env={}).site.name == "system"
    toml('[site]\nname = "folder"')
    assert load(env={}).site.name == "folder"
    named = toml('[site]\nname = "named"', "named.toml")
    assert load(env={"EZREC_CONFIG": str(named)}).site.name == "named"
    given = toml('[site]\nname = "given"', "given.toml")
    assert load(given, env={"EZREC_CONFIG": str(named)}).site.name == "given"


def test_a_file_that_was_asked_for_and_is_not_there_is_refused() -> None:
    assert problem(path=Path("nowhere.toml")).startswith("nowhere.toml: cannot be read: No such file")


def test_the_dotenv_beside_the_file_is_taken_before_the_one_in_the_working_directory() -> None:
    Path(".env").write_text("EZREC_SITE__NAME=working\n")
    path = toml("", "elsewhere/config.toml")
    assert load(path, env={}).site.name == "working"
    Path("elsewhere/.env").write_text("EZREC_SITE__NAME=beside\n")
    assert load(path, env={}).site.name == "beside"


def test_dotenv_reads_quotes_comments_and_dollars_as_they_stand() -> None:
    Path(".env").write_text("# owner\nexport EZREC_SITE__NAME='Court #1'\n\nEZREC_CAMERAS__LEFT__ID=a$HOME  # left\n")
    settings = load(env={})
    assert (settings.site.name, settings.cameras.left.id) == ("Court #1", "a$HOME")


def test_a_line_of_dotenv_that_cannot_be_read_is_named_by_its_number() -> None:
    Path(".env").write_text("USER_ID=u\nwhat is this\n")
    assert problem() == ".env, line 2: cannot be read; write NAME=value"


# ---- names


def test_every_name_of_the_documents_reaches_its_key() -> None:
    env = {
        "SUPABASE_URL": "https://p.supabase.co", "SUPABASE_SERVICE_ROLE_KEY": SECRET, "USER_ID": "u-1",
        "CAMERA_ID": "c-1", "TIMEZONE_NAME": "Europe/Berlin", "BOOKING_CHECK_INTERVAL": "7",
        "CAMERA_0_SERIAL": "88000", "CAMERA_1_SERIAL": "80000", "DUAL_CAMERA_MODE": "true", "RECORDING_FPS": "25",
        "RECORDING_QUALITY": "high", "MERGE_METHOD": "side_by_side", "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "eu-central-1", "AWS_S3_BUCKET": "films",
        "AWS_USER_MEDIA_BUCKET": "media", "EMAIL_HOST": "smtp.example", "EMAIL_PORT": "25", "EMAIL_HOST_USER": "m",
        "EMAIL_HOST_PASSWORD": SECRET, "EMAIL_USE_TLS": "False", "EMAIL_FROM": "a@b.example",
        "SHARE_BASE_URL": "https://share.example",
    }
    assert env.keys() == LEGACY_NAMES.keys()
    settings = load(env=env)
    found = {key: value for key, value, source in settings.describe() if source != "default"}
    assert found == {
        "site.user_id": "u-1", "site.camera_id": "c-1", "site.timezone": "Europe/Berlin", "bookings.poll_s": "7.0",
        "cameras.left.id": "88000", "cameras.right.id": "80000", "cameras.dual": "true", "cameras.fps": "25",
        "cameras.bitrate": "10000000", "film.crf": "20", "film.layout": "side_by_side",
        "supabase.url": "https://p.supabase.co", "supabase.key": "********", "s3.access_key_id": "id",
        "s3.secret_access_key": "********", "s3.region": "eu-central-1", "s3.bucket": "films",
        "s3.media_bucket": "media", "email.host": "smtp.example", "email.port": "25", "email.user": "m",
        "email.password": "********", "email.tls": "false", "email.sender": "a@b.example",
        "share.base_url": "https://share.example",
    }
    assert settings.secret_values() == [SECRET] * 3


def test_an_empty_document_name_counts_as_not_set() -> None:
    assert load(env=dict.fromkeys(LEGACY_NAMES, "")) == Settings()


@pytest.mark.parametrize("quality", QUALITIES)
def test_a_recording_quality_is_a_bitrate_and_a_crf(quality: str) -> None:
    settings = load(env={"RECORDING_QUALITY": quality.upper()})
    assert {"cameras.bitrate": settings.cameras.bitrate, "film.crf": settings.film.crf} == QUALITIES[quality]


def test_the_medium_quality_is_the_default() -> None:
    assert load(env={"RECORDING_QUALITY": "medium"}).model_dump() == Settings().model_dump()


@pytest.mark.parametrize("name", ["RECORDING_QUALITY", "MERGE_METHOD"])
def test_an_unknown_word_for_a_document_name_is_refused_with_the_known_ones(name: str) -> None:
    assert re.fullmatch(rf"{name} \(the environment\): should be \w+,? .*or \w+", problem(env={name: "best"}))


def test_names_of_others_are_left_alone() -> None:
    Path(".env").write_text("PATH=/bin\nSOMETHING=else\n")
    assert load(env={"HOME": "/root", "EZRECORD": "1"}) == Settings()


def test_lists_come_from_the_environment_as_words_or_json() -> None:
    words = load(env={"EZREC_BOOKINGS__IGNORE_STATUSES": "gone, off"}).bookings.ignore_statuses
    assert words == load(env={"EZREC_BOOKINGS__IGNORE_STATUSES": '["gone", "off"]'}).bookings.ignore_statuses
    assert words == ("gone", "off")
    logos = json.dumps([{"name": "club", "file": "club.png", "position": "top_left"}])
    (logo,) = load(env={"EZREC_FILM__LOGOS": logos}).film.logos
    assert (logo.file, logo.width) == (Path("club.png"), 0.08)


def test_an_empty_text_means_none() -> None:
    toml('[film]\nintro = ""\nrate = ""\nindex_reserve_kb = ""\n')
    film = load(env={"EZREC_FILM__INTRO": ""}).film
    assert (film.intro, film.rate, film.index_reserve_kb) == (None, None, None)


# ---- refusals


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[film]\ncrff = 3", "film.crff (config.toml): unknown key (did you mean film.crf?)"),
        ("[film]\nfps = 3", "film.fps (config.toml): unknown key (did you mean cameras.fps?)"),
        ("[camera]\nfps = 3", "camera (config.toml): unknown key (did you mean cameras?)"),
        ("[cameras.left]\nrotatoin = 3", "cameras.left.rotatoin (config.toml): unknown key (did you mean "),
        ("film = 3", "film (config.toml): is a section and cannot hold a value; write [film]"),
        ('[film]\ncrf = "x"', "film.crf (config.toml): should be a valid integer"),
        ("[film]\ncrf = 52", "film.crf (config.toml): got 52, must be 0–51: constant rate factor"),
        ("[bookings]\npoll_s = -1", "bookings.poll_s (config.toml): got -1, must be 0.1–3600 s: polling interval"),
        ("[cameras]\nwidth = 641", "cameras.width (config.toml): got 641, must be 64–4608 pixels, a multiple of 2: "),
        ("[cameras.left]\nrotation = 45", "cameras.left.rotation (config.toml): should be 0, 90, 180 or 270"),
        ("[disk]\nmin_free_mb = nan", "disk.min_free_mb (config.toml): should be"),
        ("[recorder]\nstall_s = nan", "recorder.stall_s (config.toml): should be a finite number"),
        ('[site]\ntimezone = "Europe/Berlni"', "site.timezone (config.toml): is no known time zone (did you mean Eu"),
        ('[site]\ntimezone = "../../etc/passwd"', "site.timezone (config.toml): is no known time zone"),
        ('[site]\ncamera_id = ""', "site.camera_id (config.toml): string should have at least 1 character"),
        ('[site]\ncamera_id = "../x"', "site.camera_id (config.toml): string should match pattern"),
        ('[site]\nuser_id = "a..b"', "site.user_id (config.toml): string should match pattern"),
        ('[bookings]\nsource = "firebase"', "bookings.source (config.toml): should be 'local' or 'supabase'"),
        ('[storage]\nkind = "ftp"', "storage.kind (config.toml): should be 'local' or 's3'"),
        ('[share]\nbase_url = "https://me:pw@x.example"', "share.base_url (config.toml): string should match pattern"),
        ('[paths]\ndata = ""', "paths.data (config.toml): should name a folder"),
        ("[film]\nlogos = 3", "film.logos (config.toml): should be a valid tuple"),
        ('[[film.logos]]\nfile="x"\nposition="top_left"', "film.logos[0].name (config.toml): is missing; it is"),
        ('[[film.logos]]\nname="n"\nfile="x"\nposition="up"', "film.logos[0].position (config.toml): should be 't"),
        ('[[film.logos]]\nname="n"\nfile="x"\nposition="top_left"\nwidht=1',
         "film.logos[0].widht (config.toml): unknown key (did you mean width?)"),
        ("[film]\ncrf = ", "config.toml: is not valid TOML: "),
    ],
)
def test_a_wrong_line_of_the_file_is_refused_with_key_place_and_remedy(text: str, line: str) -> None:
    toml(text)
    assert problem().startswith(line)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("EZREC_FILM__CRFF", "EZREC_FILM__CRFF (the environment): unknown name (did you mean EZREC_FILM__CRF?)"),
        ("EZREC_FILM_CRF", "EZREC_FILM_CRF (the environment): unknown name (did you mean EZREC_FILM__CRF?)"),
        ("ezrec_film__crf", "ezrec_film__crf (the environment): unknown name (did you mean EZREC_FILM__CRF?)"),
        ("EZREC_FILM__CRF", "film.crf (EZREC_FILM__CRF in the environment): should be a valid integer"),
        ("EZREC_FILM__LOGOS", "film.logos (EZREC_FILM__LOGOS in the environment): is not valid JSON; write a "),
        ("EZREC_FILM__CRF_FILE", "EZREC_FILM__CRF_FILE (the environment): unknown name"),
    ],
)
def test_a_wrong_name_of_the_environment_is_refused(name: str, line: str) -> None:
    assert problem(env={name: "x"}).startswith(line)


def test_an_unknown_name_in_dotenv_is_refused() -> None:
    Path(".env").write_text("EZREC_SIT__NAME=x\n")
    assert problem() == "EZREC_SIT__NAME (.env): unknown name (did you mean EZREC_SITE__NAME?)"


def test_the_name_of_the_file_is_refused_in_dotenv() -> None:
    Path(".env").write_text("EZREC_CONFIG=x.toml\n")
    assert problem().startswith("EZREC_CONFIG (.env): only works in the environment")


def test_an_unknown_override_is_refused() -> None:
    assert problem(overrides={"film": {"nope": 1}}).startswith("film.nope (given by the command): unknown key")


def test_all_problems_are_told_at_once_the_combinations_too() -> None:
    toml('[film]\ncrf = 99\ncolour = 1\n[cameras]\nsource = "replay"\n')
    told = problems(env={"EZREC_SITE__NAMEE": "x", "EZREC_LOGS__LEVEL": "loud"})
    assert [line.split()[0].rstrip(":") for line in told] == [
        "film.colour", "EZREC_SITE__NAMEE", "film.crf", "logs.level", "cameras.replay.left", "cameras.replay.right"]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ('[cameras]\nsource = "replay"\nreplay.left = "l.mp4"', ["cameras.replay.right: is missing; "]),
        ('[cameras]\nsource = "replay"\ndual = false', ["cameras.replay.left: is missing; "]),
        ('[cameras.left]\nid = "7"\n[cameras.right]\nid = "7"', ["cameras.right.id: is the same as cameras.left.id"]),
        ("[recorder]\nsegment_s = 1\n[cameras]\nkeyframe_s = 2", ["recorder.segment_s: is shorter than cameras.keyfr"]),
        ("[recorder]\nstall_s = 20", ["recorder.lost_s: is shorter than recorder.stall_s"]),
        ("[film]\nbufsize = 200_000", ["film.bufsize: holds less than 0.1 s at film.maxrate"]),
        ('[s3]\naccess_key_id = "x"', ["s3.secret_access_key: is missing; s3.access_key_id is set"]),
        ('[supabase]\nkey = "x"', ["supabase.url: is missing; supabase.key is set"]),
        ('[email]\nuser = "x"', ["email.password: is missing; email.user is set"]),
        ('[film]\nlogos = [{name="n", file="x", position="top_left"}, {name="n", file="y", position="top_right"}]',
         ["film.logos: two logos have the same name"]),
    ],
)
def test_what_a_chosen_combination_needs_is_named(text: str, lines: list[str]) -> None:
    toml(text)
    assert [told[:len(line)] for told, line in zip(problems(), lines, strict=True)] == lines


@pytest.mark.parametrize(("section", "line"), [
    ('[supabase]\nkey = "x"\nurl = "https://p.supabase.co/rest/v1"', "supabase.url: ends in /rest/v1, must be "),
    ('[supabase]\nkey = "x"\nurl = "http://p.supabase.co"', "supabase.url: begins with http://, must be https://"),
    ('[supabase]\nkey = "x"\nurl = "http://192.168.1.2:80"', "supabase.url: begins with http://, must be https://"),
    ('[supabase]\nkey = "x"\nurl = "http://localhost.eu"', "supabase.url: begins with http://, must be https://"),
    ('[s3]\nendpoint = "https://a.r2.cloudflarestorage.com/films"', "s3.endpoint: ends in /films, must be "),
    ('[s3]\nbucket = "films"\nendpoint = "https://films.s3.example:9000"', " alone: https://s3.example:9000")])
def test_an_address_that_leads_nowhere_or_shows_a_key_to_all_is_refused(section: str, line: str) -> None:
    toml(section)
    assert any(line in one for one in problems())


@pytest.mark.parametrize("section", [
    '[supabase]\nkey = "x"\nurl = "https://p.supabase.co/"', '[supabase]\nkey = "x"\nurl = "http://127.0.0.1:54321"',
    '[supabase]\nkey = "x"\nurl = "http://localhost:54321"', '[supabase]\nkey = "x"\nurl = "http://[::1]:54321"',
    '[s3]\nbucket = "films"\nendpoint = "http://nas.local:9000/"'])
def test_an_address_of_a_service_alone_is_taken(section: str) -> None:
    toml(section)
    load()


def test_a_refused_key_is_not_blamed_for_a_combination_as_well() -> None:
    toml('[cameras]\nsource = "replay"\nreplay.left = 3\nreplay.right = "r.mp4"\n')
    assert problem().startswith("cameras.replay.left (config.toml): should be")


@pytest.mark.parametrize(
    "key",
    ["/x/{booking_id}", "../{booking_id}", "a..b/{booking_id}", "{booking_id}/..", "a//{booking_id}", "{booking_id}/",
     "{booking}", "{date}", "{booking_id!r}", "{booking_id:>9}", "{booking_id", "a b/{booking_id}", "{}", "",
     "{booking_id.__class__}", "./{booking_id}", ".a/{booking_id}", "{booking_id}@2",
     "a\\{booking_id}", "x" * 600 + "{booking_id}", "{{{booking_id}}}"],
)
def test_a_key_template_that_could_leave_its_folder_or_hit_another_film_is_refused(key: str) -> None:
    assert problem(overrides={"storage": {"key": key}}).startswith("storage.key (given by the command): ")


@pytest.mark.parametrize(
    "key", ["{booking_id}", "{camera_id}/{year}/{month}-{day}/{time}_{recording_id}", "v.1/{booking_id}"])
def test_a_harmless_key_template_is_taken(key: str) -> None:
    assert load(env={}, overrides={"storage": {"key": key}}).storage.key == key


@pytest.mark.parametrize(
    ("given", "rate"),
    [(30, Fraction(30)), (29.97, Fraction(30000, 1001)), ("29.97", Fraction(30000, 1001)), (25.0, Fraction(25)),
     ("30000/1001", Fraction(30000, 1001)), (23.976, Fraction(24000, 1001)), ("59.94", Fraction(60000, 1001)),
     (12.5, Fraction(25, 2)), ("1", Fraction(1)), ("120", Fraction(120)), (29.5, Fraction(59, 2))],
)
def test_a_rate_may_be_written_in_many_ways(given: object, rate: Fraction) -> None:
    assert load(env={}, overrides={"cameras": {"fps": given}, "film": {"rate": given}}).cameras.fps == rate


@pytest.mark.parametrize(
    "given", [0, -1, 121, "x", "1/0", "nan", "inf", True, [30], "1e99999999", "9" * 5000, "0.5", "/"])
def test_what_is_no_rate_is_refused(given: object) -> None:
    assert problem(overrides={"cameras": {"fps": given}}).startswith("cameras.fps (given by the command): should ")


# ---- what follows, and what is doubted


@pytest.mark.parametrize(("text", "mb"), [
    ("", 10299), ("[cameras]\ndual = false", 7724),
    ("[cameras]\nbitrate = 1_000_000\n[film]\nmaxrate = 2_000_000", 1716),
    ('[disk]\nmin_free_mb = ""', 10299), ("[disk]\nmin_free_mb = 0", 0), ("[disk]\nmin_free_mb = 2048", 2048)])
def test_the_room_for_a_film_follows_from_the_bit_rates_unless_it_is_given(text: str, mb: int) -> None:
    toml(text)
    assert load(env={}).disk.min_free_mb == mb


def test_defaults_that_are_probably_wrong_are_doubted_until_somebody_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Madrid")
    time.tzset()
    try:
        zone, cameras = doubts(load(env={}))
        assert zone.startswith("site.timezone is not set: local times are taken as UTC")
        assert "Europe/Madrid" in zone
        assert cameras.startswith("cameras.source is not set")
        toml('[site]\ntimezone = "UTC"\n[cameras]\nsource = "simulated"\n')
        assert doubts(load(env={})) == []
        assert doubts(load(env={"EZREC_SHARE__BASE_URL": "https://x.example"})) == [
            "share.base_url (EZREC_SHARE__BASE_URL in the environment): has no effect yet"]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_machine_in_utc_raises_no_doubt_about_its_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Atlantic/Reykjavik")
    time.tzset()
    try:
        assert [doubt for doubt in doubts(load(env={})) if "zone" in doubt] == []
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_settings_are_read_as_editors_save_them(encoding: str) -> None:
    Path("config.toml").write_bytes('[site]\r\nname = "Büro"\r\n'.encode(encoding))
    Path(".env").write_bytes("# für später\r\nEZREC_FILM__CRF=19\r\n".encode(encoding))
    settings = load(env={})
    assert (settings.site.name, settings.film.crf) == ("Büro", 19)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_secret_s_file_may_begin_with_a_byte_order_mark(encoding: str) -> None:
    Path("secret").write_bytes(f"{SECRET}\r\n".encode(encoding))
    env = {"EZREC_SUPABASE__KEY_FILE": "secret", "SUPABASE_URL": "https://x.example"}
    assert load(env=env).supabase.key.get_secret_value() == SECRET


@pytest.mark.parametrize(("value", "words"), [("99", "got 99, must be 0–51: "), ("9" * 40, "must be 0–51: ")])
def test_of_what_was_got_only_a_plain_number_is_repeated(value: str, words: str) -> None:
    assert problem(env={"EZREC_FILM__CRF": value}).startswith(f"film.crf (EZREC_FILM__CRF in the environment): {words}")


# ---- secrets


@pytest.mark.parametrize("place", ["environment", "dotenv"])
@pytest.mark.parametrize("name", sorted(LEGACY_SECRETS | {name for name, key in OWN.items() if key in SECRETS}))
def test_every_secret_may_come_from_a_file(name: str, place: str) -> None:
    Path("secret").write_text(SECRET + "\n")
    env = {"SUPABASE_URL": "https://x.example", "AWS_ACCESS_KEY_ID": "i", "EMAIL_HOST_USER": "u",
           f"{name}_FILE": "secret",
           "EZREC_SUPABASE__KEY": "k", "EZREC_SUPABASE__DEVICE_TOKEN": "k", "EZREC_S3__SECRET_ACCESS_KEY": "k",
           "EZREC_EMAIL__PASSWORD": "k", "EZREC_ALERTS__WEBHOOK": "https://y.example",
           "EZREC_ALERTS__WEBHOOK_SECRET": "k"}
    key = OWN.get(name) or next(iter(LEGACY_NAMES[name](" ")))
    del env["EZREC_" + key.upper().replace(".", "__")]
    if place == "dotenv":
        Path(".env").write_text("".join(f"{name}={value}\n" for name, value in env.items()))
        env = {}
    section, field = key.split(".")
    assert getattr(getattr(load(env=env), section), field).get_secret_value() == SECRET


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot be read"), (b"", "is empty"), (b"\xff\xfe", "is not UTF-8"), (b"x" * 70000, "is too long")],
)
def test_a_secret_file_that_holds_no_secret_is_refused(content: bytes | None, words: str) -> None:
    if content is not None:
        Path("secret").write_bytes(content)
    env = {"EZREC_SUPABASE__KEY_FILE": "secret", "SUPABASE_URL": "https://x.example"}
    assert any(line.startswith("EZREC_SUPABASE__KEY_FILE (the environment): the file ") and words in line
               for line in problems(env=env))


def test_a_secret_given_twice_in_one_place_is_refused() -> None:
    env = {"EMAIL_HOST_PASSWORD": SECRET, "EMAIL_HOST_PASSWORD_FILE": "x", "EMAIL_HOST_USER": "u"}
    assert problem(env=env).startswith("EMAIL_HOST_PASSWORD (the environment): is given twice; keep either")


def test_no_secret_shows_in_any_form_of_the_settings() -> None:
    env = {"SUPABASE_URL": "https://x.example", "AWS_ACCESS_KEY_ID": "i", "EMAIL_HOST_USER": "u"}
    settings = load(env=env | dict.fromkeys(LEGACY_SECRETS, SECRET))
    assert settings.secret_values() == [SECRET] * len(LEGACY_SECRETS)
    shown = [repr(settings), str(settings), settings.model_dump_json(), str(settings.model_dump()),
             str(settings.describe()), repr(settings.supabase), str(settings.s3)]
    assert not [form for form in shown if SECRET in form]


@pytest.mark.parametrize(
    ("env", "toml_text"),
    [
        ({"SUPABASE_SERVICE_ROLE_KEY": SECRET * 1000}, ""),  # too long
        ({"SUPABASE_SERVICE_ROLE_KEY_FILE": SECRET}, ""),  # put where its path belongs
        ({"EZREC_SUPABASE__KEEY": SECRET}, ""),
        ({"EZREC_FILM__CRF": SECRET, "EZREC_CAMERAS__FPS": SECRET, "EZREC_SITE__TIMEZONE": SECRET}, ""),
        ({"SUPABASE_URL": f"https://u:{SECRET}@x.example", "RECORDING_QUALITY": SECRET, "MERGE_METHOD": SECRET}, ""),
        ({"EZREC_STORAGE__KEY": "{" + SECRET + "}", "EZREC_FILM__LOGOS": SECRET, "EZREC_PATHS__DATA": ""}, ""),
        ({}, f'[supabase]\nkey = ["{SECRET}"]\n[s3]\nsecret_access_key = {{a = "{SECRET}"}}\n'),
        ({}, f'[supabase]\nkeyy = "{SECRET}"\n[email]\npasswd = "{SECRET}"\n'),
        ({}, f'[supabase]\nkey = "{SECRET}\n'),
        ({}, f"[supabase]\nkey = {SECRET}\n"),
        ({}, f'[[film.logos]]\nname = "n"\nposition = "{SECRET}"\ntoken = "{SECRET}"\n'),
    ],
)
def test_no_secret_shows_in_an_error_or_its_traceback(env: dict[str, str], toml_text: str) -> None:
    toml(toml_text)
    with pytest.raises(SettingsError) as caught:
        load(env=env)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None  # which would hold the refused values


# ---- the whole


def test_settings_are_frozen() -> None:
    settings = load(env={})
    with pytest.raises(ValueError, match="frozen"):
        settings.film.crf = 3
    with pytest.raises(ValueError, match="frozen"):
        settings.film = settings.film.model_copy()  # type: ignore[misc]


def test_folders_follow_the_data_folder_unless_told() -> None:
    paths = load(env={}, overrides={"paths": {"data": "/srv/x"}}).paths
    assert (paths.library_folder, paths.log_folder) == (Path("/srv/x/library"), Path("/srv/x/logs"))
    paths = load(env={}, overrides={"paths": {"library": "/l", "logs": "/g"}}).paths
    assert (paths.library_folder, paths.log_folder) == (Path("/l"), Path("/g"))


def test_every_key_says_what_it_is() -> None:
    assert [key for key, field in KEYS.items() if not field.description] == []
    assert [name for name, field in LogoSettings.model_fields.items() if not field.description] == []


@pytest.mark.parametrize(
    ("section", "line", "keys"),
    [
        ("bookings", 'source = "supabase"', ["supabase.url", "supabase.key", "site.user_id"]),
        ("publishing", 'kind = "supabase"', ["supabase.url", "supabase.key", "site.user_id"]),
        ("storage", 'kind = "s3"', ["s3.bucket", "s3.access_key_id", "s3.secret_access_key"]),
    ])
def test_a_cloud_service_names_every_key_that_it_lacks(section: str, line: str, keys: list[str]) -> None:
    toml(f"[{section}]\n{line}\n")
    chosen = f"{section}.{line}"
    assert problems() == [f"{key}: is missing; {chosen} needs it" for key in keys]


def test_the_example_is_valid_as_it_is_and_changes_nothing() -> None:
    assert load(EXAMPLE, env={}) == Settings()


def test_the_example_holds_every_key_with_its_default_and_description() -> None:
    text = EXAMPLE.read_text()
    tree = tomllib.loads(re.sub(r"^#(?=\w)", "", text, flags=re.MULTILINE))
    path = toml(re.sub(r"^#(?=\w)", "", text, flags=re.MULTILINE), "uncommented.toml")
    assert load(path, env={}).model_dump() == Settings().model_dump()
    for key, field in KEYS.items():
        value: Any = tree
        for name in key.split("."):
            value = value[name]
        assert f"# {field.description}\n#{key.rpartition('.')[2]} = " in text
    sources = {key: source for key, _, source in load(path, env={}).describe()}
    assert set(sources.values()) == {str(path)}


def test_the_example_of_a_logo_is_complete_and_true() -> None:
    block = EXAMPLE.read_text().partition("# [[film.logos]]\n")[2].partition("\n\n")[0]
    raw = tomllib.loads(re.sub(r"^# ", "", block, flags=re.MULTILINE))
    logo = LogoSettings(**raw)
    assert raw.keys() == LogoSettings.model_fields.keys()
    assert logo == LogoSettings(name=logo.name, file=logo.file, position=logo.position)
    for field in LogoSettings.model_fields.values():
        assert f"  # {field.description}" in block


# ---- files that others may read


@pytest.mark.parametrize(("mode", "told"), [(0o644, True), (0o604, True), (0o640, False), (0o600, False)])
def test_a_file_with_secrets_that_every_user_can_read_is_told_with_its_mode_and_the_command(
        here: Path, mode: int, *, told: bool) -> None:
    settings = toml(f'[supabase]\nkey = "{SECRET}"\n')
    dotenv, file = here / ".env", here / "key"
    dotenv.write_text(f"AWS_SECRET_ACCESS_KEY={SECRET}\nEZREC_EMAIL__PASSWORD_FILE={file}\n")
    file.write_text(SECRET)
    for path in (settings, dotenv, file):
        path.chmod(mode)
    found = exposed(None, {})
    assert found == ([f"{path} holds secrets and is open to every user (mode {mode:04o}): chmod 600 {path}"
                      for path in (Path("config.toml"), Path(".env"), file)] if told else [])
    assert SECRET not in "".join(found)


def test_a_file_without_secrets_may_be_read_by_all(here: Path) -> None:
    toml("[film]\ncrf = 20\n").chmod(0o644)
    (here / ".env").write_text("SUPABASE_URL=https://x.example\nAWS_SECRET_ACCESS_KEY=\n")
    assert exposed(None, {}) == []
    assert exposed(None, {"EZREC_SUPABASE__KEY_FILE": str(here / "nowhere")}) == []


# ---- the predecessor's other names


@pytest.mark.parametrize(("name", "value", "key", "meant"), [
    ("AWS_DEFAULT_REGION", "eu-central-1", "s3.region", "eu-central-1"), ("S3_BUCKET", "films", "s3.bucket", "films"),
    ("LOCAL_TIMEZONE", "Europe/Berlin", "site.timezone", "Europe/Berlin"),
    ("TIMEZONE", "Europe/Rome", "site.timezone", "Europe/Rome"), ("CAMERA_NAME", "Shed", "site.name", "Shed"),
    ("RESOLUTION", "1280x720", "cameras.width", 1280), ("RESOLUTION", "1280X720", "cameras.height", 720),
    ("RECORD_WIDTH", "640", "cameras.width", 640), ("RECORD_HEIGHT", "360", "cameras.height", 360),
    ("RECORD_FPS", "25", "cameras.fps", 25), ("RECORDING_BITRATE", "4000000", "cameras.bitrate", 4_000_000),
    ("CAMERA_ROTATION", "180", "cameras.left.rotation", 180), ("CAMERA_ROTATION", "90", "cameras.right.rotation", 90),
    ("STATUS_UPDATE_INTERVAL", "5", "supabase.heartbeat_s", 5), ("LOG_LEVEL", "WARNING", "logs.level", "warning"),
    ("LOG_LEVEL", "CRITICAL", "logs.level", "error"),
    ("INTRO_VIDEO_PATH", "/venue/intro.mp4", "film.intro", Path("/venue/intro.mp4")),
])
def test_what_the_predecessors_programs_read_reaches_its_key(name: str, value: str, key: str, meant: object) -> None:
    assert load(env={name: value}).value(key) == meant


def test_every_older_name_is_tried_here_and_counts_as_not_set_when_empty() -> None:
    tried = {"SUPABASE_KEY", "SUPABASE_ANON_KEY"} | {
        mark.args[1][number][0] for mark in
        test_what_the_predecessors_programs_read_reaches_its_key.pytestmark for number in range(len(mark.args[1]))}  # type: ignore[attr-defined]
    assert tried == OLDER_NAMES.keys()
    assert load(env=dict.fromkeys((*OLDER_NAMES, *LOGO_NAMES), "")) == Settings()


@pytest.mark.parametrize(("less", "more", "key"), [
    ("SUPABASE_ANON_KEY", "SUPABASE_KEY", "supabase.key"),
    ("SUPABASE_KEY", "SUPABASE_SERVICE_ROLE_KEY", "supabase.key"),
    ("TIMEZONE", "LOCAL_TIMEZONE", "site.timezone"), ("LOCAL_TIMEZONE", "TIMEZONE_NAME", "site.timezone"),
    ("AWS_DEFAULT_REGION", "AWS_REGION", "s3.region"), ("S3_BUCKET", "AWS_S3_BUCKET", "s3.bucket"),
    ("RECORD_FPS", "RECORDING_FPS", "cameras.fps"), ("RECORDING_BITRATE", "RECORDING_QUALITY", "cameras.bitrate"),
])
def test_of_two_words_for_one_thing_the_documents_one_counts(less: str, more: str, key: str) -> None:
    values = {"site.timezone": ("Europe/Rome", "Europe/Berlin"), "cameras.fps": ("20", "25"),
              "cameras.bitrate": ("4000000", "low")}.get(key, ("one", "two"))
    url = {"SUPABASE_URL": "https://x.example"} if key == "supabase.key" else {}
    both, one, other = (load(env=url | env).value(key) for env in (
        {less: values[0], more: values[1]}, {more: values[1]}, {less: values[0]}))
    assert both == one != other


@pytest.mark.parametrize(("name", "value", "words"), [
    ("RESOLUTION", "large", "RESOLUTION (the environment): should be a size such as 1920x1080"),
    ("LOG_LEVEL", "loud", "LOG_LEVEL (the environment): should be debug, info, warning or error"),
    ("LOGO_WIDTH", "wide", "film.logos (the environment): the width of the logo main should be a number of pixels"),
])
def test_an_older_name_that_means_nothing_is_refused_by_its_name(name: str, value: str, words: str) -> None:
    assert problem(env={name: value, "MAIN_LOGO_PATH": "/venue/main.png"}) == words


def test_the_predecessors_logos_stand_in_their_corners() -> None:
    settings = load(env={"MAIN_LOGO_PATH": "/a.png", "USER_LOGO_PATH": "/b.png", "USER_LOGO_WIDTH": "192",
                         "SPONSOR_LOGO_2_PATH": "/c.png", "SPONSOR_2_POSITION": "bottom_center",
                         "RESOLUTION": "1920x1080"})
    assert [(one.name, str(one.file), one.position, one.width) for one in settings.film.logos] == [
        ("main", "/a.png", "bottom_right", 0.2083), ("user", "/b.png", "top_right", 0.1),
        ("sponsor2", "/c.png", "bottom_left", 0.0625)]


def test_the_predecessors_folder_is_no_unknown_name_of_ours() -> None:
    assert load(env={"EZREC_BASE_DIR": "/opt/ezrec-backend"}) == Settings()
