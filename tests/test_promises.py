"""The promises: which tests would fail without each, so that nobody removes one unnoticed; and promise 7 itself."""

import asyncio
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ezrec.config import Settings
from ezrec.domain.booking import Booking
from ezrec.domain.clock import SECOND, SystemClock
from ezrec.domain.stages import Stage
from ezrec.store import Store
from ezrec.supervisor import Supervisor
from tests.fakes.holding import Holding, in_the_loop
from tests.fakes.site import SETTINGS
from tests.fakes.waiting import eventually

TESTS = Path(__file__).parent

PROMISES: dict[int, list[str]] = {
    1: [  # file first and fsynced, then the row; row marked, file unlinked, row dropped
        "adapters/test_segments.py::test_a_segment_is_synced_with_its_folder_before_it_is_handed_out",
        "tasks/recording/test_windows.py::test_a_segments_row_is_written_before_its_lane_counts_it_as_durable",
        "tasks/test_cleanup.py::test_a_kill_between_the_steps_of_a_deletion_brings_no_segment_back",
        "store/test_store_beside_others.py::test_commits_wait_for_the_disk",
        "whole/test_kill.py::test_a_film_survives_a_kill_before_a_durable_step_and_one_after_it",
    ],
    2: [  # a segment stays until every film that ever touched it is cleaned
        "store/test_store.py::test_a_segment_is_unneeded_once_every_film_that_ever_touched_it_is_cleaned",
        "tasks/test_cleanup.py::test_a_segment_that_two_films_touch_stays_until_both_are_cleaned",
        "tasks/test_cleanup.py::test_a_segment_that_a_window_once_reached_stays_though_the_window_moved_away",
    ],
    3: [  # only what was joined is stored; local files stay until the object is verified and the row is in
        "media/test_join.py::test_sums_are_those_of_what_was_joined_whatever_became_of_it_on_the_disk",
        "tasks/test_upload.py::test_a_part_that_is_not_what_was_written_is_not_stored_and_the_film_made_again",
        "whole/test_damaged_film.py::test_a_film_that_was_damaged_or_lost_is_made_again_from_its_segments",
        "tasks/test_cleanup.py::test_nothing_is_deleted_before_the_object_is_verified_and_the_row_is_in",
        "whole/test_cloud_main.py::test_a_restart_without_network_records_what_was_booked_and_tells_it_later",
    ],
    4: [  # one booking, one object at a key of its own, one row; an id that is used again is another booking
        "tasks/test_upload.py::test_a_lost_answer_leaves_one_object_and_one_row",
        "tasks/test_outbox_task.py::test_what_fails_is_told_again_after_a_while_and_what_follows_waits_for_it",
        "store/test_store.py::test_a_film_has_one_row_of_a_video_however_often_it_is_put",
        "domain/test_schedule.py::test_a_booking_never_gets_a_second_film",
        "domain/test_naming.py::test_rows_that_are_read_again_mean_the_same_bookings",
        "tasks/test_bookings.py::test_an_id_that_is_used_again_every_week_is_recorded_every_week",
        "tasks/test_upload.py::test_no_two_generations_of_any_bookings_share_a_key_or_a_poster",
        "whole/test_windows.py::test_an_id_that_the_bookings_file_uses_again_is_recorded_again",
        "store/test_outbox.py::test_a_row_that_has_just_been_confirmed_is_not_written_again",
        "whole/test_kill.py::test_films_survive_a_kill_at_any_moment",
        "whole/test_cloud_kill.py::test_a_kill_around_any_step_in_the_cloud_leaves_one_object_and_one_row",
        "whole/test_cloud_kill.py::test_answers_that_are_lost_one_after_the_other_change_nothing",
        "whole/test_cloud_kill.py::test_kills_while_an_answer_is_awaited_that_never_comes_change_nothing",
        "whole/test_cloud_change.py::test_a_film_begun_again_leaves_no_second_object_or_row_and_nothing_open",
    ],
    5: [  # what a kill may cost, and that it is stated
        "domain/test_certificate.py::test_gaps_and_what_is_shown_make_up_the_window",
        "domain/test_certificate.py::test_a_pause_between_two_runs_is_a_gap_of_both_that_says_where_the_cut_lies",
        "whole/test_kill.py::test_a_film_survives_a_kill_before_a_durable_step_and_one_after_it",
        "whole/test_kill.py::test_films_survive_a_kill_at_any_moment",
        "adapters/test_segments.py::test_a_sync_costs_no_frame_however_long_it_takes",
        "adapters/test_segments.py::test_the_next_segment_is_written_while_the_last_one_is_being_sealed",
        "whole/test_slow_disk.py::test_with_syncs_of_a_second_the_cameras_start_before_anything_is_written",
    ],
    6: [  # order, rate, synchrony, and every deviation counted
        "domain/test_planning.py::test_every_seen_tick_is_planned_once_and_in_order",
        "domain/test_certificate.py::test_a_frame_shown_on_both_sides_of_a_join_is_one_repeat_more",
        "domain/test_certificate.py::test_frames_left_out_at_a_join_are_skips",
        "whole/test_cameras.py::test_drift_and_drops_of_both_cameras_are_counted_and_cost_nothing_else",
    ],
    7: [  # the event loop is never held over 100 ms by ours; what libcamera's holds cost is measured by the bench
        "test_promises.py::test_nothing_holds_the_event_loop_while_a_film_is_recorded_made_and_published",
        "tasks/film/test_making.py::test_a_film_of_six_hours_never_holds_the_loop_and_costs_no_more_than_a_short_one",
        "tasks/test_upload.py::test_hashing_does_not_hold_the_event_loop",
        "adapters/cameras/pi/test_camera.py::test_one_camera_that_is_opened_and_closed_costs_the_other_one_no_frame",
    ],
    8: [  # clock steps never cut, stretch or lose a recording
        "domain/test_timeline.py::test_a_film_is_never_shorter_than_booked_and_never_absurdly_longer",
        "domain/test_timeline.py::test_a_film_that_has_begun_keeps_its_start",
        "tasks/recording/test_windows.py::test_a_clock_that_steps_in_mid_film_neither_cuts_nor_loses_it",
    ],
    9: [  # room: no new work, cancelled first, published next, unpublished never
        "tasks/recording/test_windows.py::test_a_film_is_not_begun_when_the_disk_is_nearly_full_and_is_begun_once_there_is_room",
        "tasks/test_cleanup.py::test_for_room_the_cancelled_go_first_then_the_published_and_the_unpublished_never",
    ],
    10: [  # everything from outside is validated at the border
        "domain/test_booking.py::test_whatever_passes_as_an_id_is_one_plain_file_name",
        "store/test_store.py::test_a_row_that_cannot_be_true_is_refused",
        "adapters/test_local_storage.py::test_an_upload_id_never_becomes_a_path",
        "tasks/film/test_recipe.py::test_a_logo_that_cannot_be_used_is_left_out_and_said",
    ],
    11: [  # footage that cannot be read costs its own time and no more
        "media/test_chunk.py::test_zeros_in_the_middle_of_a_segment_cost_that_time_and_no_more",
        "media/test_chunk.py::test_what_is_there_and_does_not_decode_for_half_a_second_is_lost",
        "tasks/film/test_making.py::test_what_no_camera_can_show_is_cut_out_and_stated",
        "tasks/film/test_making.py::test_footage_that_is_away_is_waited_for_a_minute_and_counts_as_no_attempt",
        "whole/test_unreadable.py::test_a_time_that_no_file_gives_is_cut_out_stated_and_told",
        "whole/test_unreadable.py::test_files_that_are_away_for_six_seconds_cost_the_film_nothing",
    ],
    12: [  # it starts and records whatever lies there, and publishes nothing twice
        "whole/test_whatever_lies_there.py::test_it_starts_and_records_what_is_due",
        "whole/test_full_disk.py::test_a_start_on_a_full_disk_makes_room_and_records_once_there_is_some",
        "whole/test_store_lost.py::test_a_match_in_the_middle_becomes_one_film_of_both_runs",
        "whole/test_store_lost.py::test_a_film_that_was_published_is_not_published_twice",
        "whole/test_damage.py::test_what_came_to_no_harm_is_published_and_the_certificate_states_the_rest",
        "store/test_salvage.py::test_what_would_end_every_start_is_damage",
        "tasks/test_recovery.py::test_one_file_that_cannot_be_used_costs_itself_alone",
    ],
    13: [  # nothing is written beside a data folder that is not there
        "whole/test_folder_gone.py::test_a_folder_that_goes_away_is_left_within_two_seconds_and_nothing_grows_in_its_place",
        "whole/test_folder_gone.py::test_a_folder_that_must_be_there_is_waited_for_and_never_made",
    ],
    15: [  # logs arrive, masked, within bounds
        "tasks/test_logship.py::test_every_line_arrives_once_through_restarts_and_rotations",
        "tasks/test_logship.py::test_archives_wait_while_the_network_is_away_and_go_in_their_order",
        "tasks/test_logship.py::test_a_month_without_network_costs_the_oldest_logs_and_not_the_disk",
        "tasks/test_logship.py::test_no_secret_reaches_an_archive_whoever_wrote_it",
        "adapters/test_journal.py::test_a_journal_that_cannot_be_read_is_said_and_holds_nobody_up",
    ],
    14: [  # housekeeping once a day, never beside a match; only what is not needed goes
        "tasks/test_night.py::test_it_is_done_once_a_day_at_three_o_clock_local_time",
        "tasks/test_night.py::test_what_was_missed_is_caught_up_once_and_a_restart_repeats_nothing",
        "tasks/test_night.py::test_it_waits_while_a_match_is_recorded_or_begins_soon_and_is_done_afterwards",
        "tasks/test_night.py::test_what_a_dry_run_names_is_what_clean_up_deletes_and_it_deletes_nothing_itself",
        "adapters/test_s3_leftovers.py::test_old_uploads_of_this_court_that_nobody_knows_are_ended_and_no_others",
        "tasks/test_opening.py::test_a_store_made_anew_gets_back_from_a_copy_what_the_damaged_one_lacks_and_nothing_else",
    ],
}


@pytest.mark.parametrize("number", PROMISES)
def test_a_promise_has_the_tests_that_would_fail_without_it(number: int) -> None:
    for name in PROMISES[number]:
        file, _, function = name.partition("::")
        text = (TESTS / file).read_text("utf-8")
        assert re.search(rf"^(async )?def {function}\(", text, re.MULTILINE), f"{name} is gone: what keeps the promise?"


async def test_nothing_holds_the_event_loop_while_a_film_is_recorded_made_and_published(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise 7, in CPU time (so that a busy machine does not count), and no fsync in the loop's thread."""
    settings = Settings(**{name: dict(keys) for name, keys in SETTINGS.items()}, paths={"data": tmp_path / "data"})
    clock, synced = SystemClock(), list[Path]()

    def watched(real: Callable[[int], None]) -> Callable[[int], None]:
        def sync(handle: int) -> None:
            if in_the_loop():
                synced.append(Path(f"/proc/self/fd/{handle}").readlink())
            real(handle)

        return sync

    monkeypatch.setattr(os, "fsync", watched(os.fsync))
    monkeypatch.setattr(os, "fdatasync", watched(os.fdatasync))
    supervisor = Supervisor(settings, clock)
    running = asyncio.create_task(supervisor.run())
    await supervisor.ready.wait()
    synced.clear()
    beside = await Store.open(tmp_path / "data" / "ezrec.db")
    with Holding() as held:
        starts_at = clock.wall_us() + round(1.2 * SECOND)
        await beside.put_booking(Booking("match", "cli", starts_at, starts_at + 3 * SECOND, "scheduled"))

        async def cleaned() -> bool:
            film = await beside.film("match")
            assert not (film and film.parked_reason), film
            return bool(film and film.stage is Stage.CLEANED)

        await eventually(cleaned, 60)
        supervisor.stop()
        assert await running == 0
    await beside.close()
    assert held.longest_s < 0.1, held.what
    assert synced == []
    print(f"held for {held.longest_s * 1e3:.1f} ms at most, {held.total_s:.2f} s in all")
