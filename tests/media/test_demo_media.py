"""What the demo brings can be used as what a venue brings."""

from pathlib import Path

import av
import numpy as np

from ezrec.media.demo_media import make
from ezrec.media.overlay import prepare_logo
from ezrec.media.probe import probe


def test_the_demos_intro_has_two_seconds_of_picture_and_sound(tmp_path: Path) -> None:
    _, intro = make(tmp_path / "venue")
    facts = probe(intro)
    assert (facts.width, facts.height, facts.rate, facts.frames, facts.sound) == (960, 540, 25, 50, True)
    with av.open(str(intro)) as clip:
        sound = np.concatenate([frame.to_ndarray() for frame in clip.decode(audio=0)], axis=1)
    assert abs(sound.shape[1] / 44_100 - 2) < 0.1
    assert 0.1 < np.abs(sound).max() < 0.3
    with av.open(str(intro)) as clip:
        bright = [int((frame.to_ndarray()[:540] > 200).sum()) for frame in clip.decode(video=0)]
    assert bright[0] == 0
    assert bright[-1] > 5000  # the title has come up


def test_the_demos_logos_are_coloured_badges_with_clear_corners(tmp_path: Path) -> None:
    logos, _ = make(tmp_path / "venue")
    assert set(logos) == {"sponsor", "company"}
    for path in logos.values():
        badge = prepare_logo(path, 480)
        assert (badge.width, badge.height) == (480, 160)
        keep = next(patch.keep for patch in badge.patches if patch.plane == 0)
        assert keep[0, 0] == 256
        assert keep[keep.shape[0] // 2].min() < 30
