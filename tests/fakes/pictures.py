"""Pictures of one colour."""

from av.video.frame import VideoFrame

from ezrec.pyav import planes_of


def flat(width: int, height: int, luma: int, blue: int = 128, form: str = "yuv420p") -> VideoFrame:
    frame = VideoFrame(width, height, form)
    for plane, value in zip(planes_of(frame), (luma, blue, 128), strict=True):
        plane[:] = value
    return frame
