"""What the store does with what it knows when it was lost or damaged and made anew."""

from ezrec.store import Store
from tests.fakes.records import booking, segment, span


async def test_a_film_that_should_be_over_and_never_began_goes_when_the_store_was_lost(store: Store) -> None:
    """A store that has gone back in time may know a published film as one that is booked."""
    for name, ends_at in (("over", 1000), ("to come", 1001), ("begun", 1000), ("of no booking", 1000)):
        if name != "of no booking":
            await store.put_booking(booking(name))
        await store.add_film(name, f"r-{name}", 100, ends_at)
    await store.put_span("begun", span(await store.begin_run("boot", 0, 0)))
    await store.add_segment(segment(100, 200))
    await store.note_recovery("it was lost")
    assert sorted(film.booking_id for film in await store.films()) == ["begun", "of no booking", "to come"]
    assert len(await store.bookings()) == 3
