"""Small files in Supabase Storage: stored once whole, and every other answer is the right error."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ezrec.adapters.supabase.shelf import Shelf
from ezrec.config.sections import Secret, SupabaseSettings
from ezrec.domain.errors import CredentialError, EzrecError, ParkError, RetryError
from tests.fakes.cloud.shelf import BUCKET, KEY, StorageServer, a_shelf

WHERE = "logs/court-1/20270115T080000Z_logs.zip"


@pytest.fixture
async def server() -> AsyncIterator[StorageServer]:
    async with a_shelf() as one:
        yield one


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.zip"
    path.write_bytes(b"zip" * 100_000)
    return path


async def put(url: str, file: Path, key: str = KEY, bucket: str = BUCKET, limit_s: float = 20) -> None:
    shelf = Shelf(SupabaseSettings(url=url, key=Secret(key)), bucket, limit_s)
    try:
        await shelf.put_file(WHERE, file)
    finally:
        await shelf.close()


async def test_a_file_is_stored_whole_and_stored_again_takes_its_own_place(server: StorageServer, file: Path) -> None:
    for _ in range(2):
        await put(server.url, file)
    assert server.files == {WHERE: file.read_bytes()}


@pytest.mark.parametrize(("answer", "error"), [
    ((503, '{"statusCode": "503", "message": "busy"}'), RetryError),
    ((400, '{"statusCode": "429", "message": "slow down"}'), RetryError),
    ((400, '{"statusCode": "413", "error": "Payload too large", "message": "too large"}'), ParkError),
    ((200, "<html>Welcome to the hotel</html>"), RetryError),
    ((200, "[]"), RetryError),
    ((200, "{}"), EzrecError),
    ((302, ""), RetryError),
])
async def test_what_is_not_storage_s_word_stores_nothing(
        server: StorageServer, file: Path, answer: tuple[int, str], error: type[EzrecError]) -> None:
    server.answers.append(answer)
    with pytest.raises(error):
        await put(server.url, file)


async def test_a_refusal_says_what_helps_and_not_the_key(server: StorageServer, file: Path) -> None:
    with pytest.raises(CredentialError, match=r"storage\.objects") as refused:
        await put(server.url, file, key="another-key")
    assert "another-key" not in str(refused.value)
    with pytest.raises(ParkError, match=r"make the bucket \(logs\.bucket\)"):
        await put(server.url, file, bucket="none")


async def test_without_a_network_or_a_file_it_is_said(file: Path) -> None:
    with pytest.raises(RetryError, match=r"127\.0\.0\.1"):
        await put("http://127.0.0.1:9", file)
    file.unlink()
    with pytest.raises(EzrecError, match="read"):
        await put("http://127.0.0.1:9", file)
