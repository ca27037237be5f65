"""The venue's Supabase project: its tables, types, key and rights, rows that are there twice or point nowhere."""

from ezrec.actions.checks import Found, Grade, Look, Surroundings
from ezrec.domain.errors import CredentialError, EzrecError, ParkError

NEW_KEY = "correct supabase.key, or make the device a new token (`ezrec device add`), and see that the clock is right"
REACH = "see that the network reaches the project, and correct supabase.url"


async def project(around: Surroundings) -> list[Found]:
    """What the project would not take, what is open in it, and which rows are amiss; each with its SQL."""
    if not around.settings.supabase.url:
        return []
    from ezrec.actions import cloud  # noqa: PLC0415 - loads postgrest-py

    try:
        found = await cloud.problems(around.settings)
    except CredentialError as error:
        return [Found("supabase", Grade.BAD, str(error), NEW_KEY)]
    except ParkError as error:
        return [Found("supabase", Grade.BAD, str(error), cloud.TABLES)]
    except EzrecError as error:
        return [Found("supabase", Grade.BAD, str(error), REACH)]
    seen = [Found(f"supabase: {one.about}", Grade.WARNING if one.untidy else Grade.BAD, one.problem,
                 one.remedy) for one in found]
    return seen or [Found("supabase", Grade.OK, "it takes all that this court will tell it, none of its tables is open "
                                               "to strangers, no row is there twice or points nowhere")]


LOOKS = (Look("supabase", project, 75.0, by_itself=True),)
