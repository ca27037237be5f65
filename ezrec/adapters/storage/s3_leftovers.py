"""Unfinished uploads in the bucket that are surely this court's and that nobody knows any more: they cost money for
ever where the bucket has no lifecycle rule.

Surely its own is what lies below `{user_id}/{camera_id}/`, where the settings put both first in every key: below that
folder no other court puts anything. With any other template nothing is touched (docs/decisions/0047).
"""

from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime

from ezrec import logs
from ezrec.adapters.storage.s3_client import S3Client
from ezrec.config import Settings
from ezrec.domain.clock import SECOND, Clock
from ezrec.domain.errors import UploadGone

log = logs.get("night")

OURS = "{user_id}/{camera_id}/"
OLD_US = 7 * 24 * 3600 * SECOND  # younger ones may be another box's in this one's place, or of a store that was lost
LIMIT_S = 30.0
MOST = 200  # that are ended in a night


def own_prefix(settings: Settings) -> str | None:
    """What every key of this court begins with, and no other court's; None if the settings do not say so."""
    site = settings.site
    if settings.storage.kind != "s3" or not settings.storage.key.startswith(OURS) or not site.user_id:
        return None
    return OURS.format(user_id=site.user_id, camera_id=site.camera_id)


class Leftovers:
    """Ends them. `known` gives the ids of uploads that the store knows."""

    def __init__(self, settings: Settings, prefix: str, clock: Clock,
                 known: Callable[[], Awaitable[Collection[str]]]) -> None:
        self._settings, self._prefix, self._clock, self._known = settings.s3, prefix, clock, known

    async def end(self) -> None:
        """End those that are old and unknown.

        Raises:
            RetryError, ParkError: the bucket cannot be asked.
        """
        s3 = S3Client(self._settings, LIMIT_S)
        try:
            old = await self._old(s3)
            known = await self._known()  # after the list: what was begun meanwhile is not in it
            for key, upload_id in old[:MOST]:
                if upload_id not in known:
                    try:
                        await s3.ask("abort_multipart_upload", f"end the unfinished upload of {key}", Key=key,
                                     UploadId=upload_id)
                    except UploadGone:
                        continue
                    log.info("unfinished upload of long ago ended", key=key)
        finally:
            await s3.close()

    async def _old(self, s3: S3Client) -> list[tuple[str, str]]:
        before = datetime.fromtimestamp((self._clock.wall_us() - OLD_US) / SECOND, UTC)
        found: list[tuple[str, str]] = []
        after: dict[str, str] = {}
        while True:
            try:
                answer = await s3.ask("list_multipart_uploads", "list the unfinished uploads", "Bucket",
                                      Prefix=self._prefix, **after)
            except UploadGone:  # rclone's word for an empty list
                return found
            found += [(str(one["Key"]), str(one["UploadId"])) for one in answer.get("Uploads", ())
                      if str(one.get("Key")).startswith(self._prefix) and one.get("UploadId")
                      and isinstance(one.get("Initiated"), datetime) and one["Initiated"] < before]
            following = {"KeyMarker": answer.get("NextKeyMarker"), "UploadIdMarker": answer.get("NextUploadIdMarker")}
            if not answer.get("IsTruncated") or not all(following.values()) or following == after:
                return found
            after = {name: str(value) for name, value in following.items()}
