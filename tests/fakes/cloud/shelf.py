"""Supabase Storage as far as uploads need it: real HTTP, real answers (docs of Storage's API), files in memory.

    async with a_shelf() as shelf:       # shelf.url is the project's; shelf.files what was stored
        shelf.answers.append((503, …))   # given before it takes anything
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

KEY = "a-key-of-the-tests"
BUCKET = "ezrec"


class StorageServer:
    """What it holds, and how it is reached."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.answers: list[tuple[int, str]] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        """POST /storage/v1/object/<bucket>/<path>."""
        body = await request.read()
        if self.answers:
            status, text = self.answers.pop(0)
            return web.Response(status=status, text=text, content_type="text/html" if text[:1] == "<"
                                else "application/json")
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return _refusal("403", "Unauthorized", "signature verification failed")
        bucket, path = request.match_info["bucket"], request.match_info["path"]
        if bucket != BUCKET:
            return _refusal("404", "Bucket not found", "Bucket not found")
        if path in self.files and request.headers.get("x-upsert") != "true":
            return _refusal("409", "Duplicate", "The resource already exists")
        self.files[path] = body
        return web.json_response({"Key": f"{bucket}/{path}", "Id": "9b1c"})


def _refusal(status: str, error: str, message: str) -> web.Response:
    return web.json_response({"statusCode": status, "error": error, "message": message}, status=400)


@asynccontextmanager
async def a_shelf() -> AsyncIterator[StorageServer]:
    """A project's Storage, as long as it is wanted."""
    server, app = StorageServer(), web.Application(client_max_size=64 << 20)
    app.router.add_post("/storage/v1/object/{bucket}/{path:.+}", server.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()
