"""What one PostgreSQL takes of ten thousand courts: heartbeats that bring the mark of their bookings, and reads.

pgbench runs beside it on the same cores, as PostgREST would: each call is a transaction that takes the device's role.
It is sent in one piece, so that what is measured is PostgreSQL and not pgbench.
"""

import os
import re
import subprocess
from pathlib import Path

from ezrec.cli.tables import sql
from tests.bench.result import Plan, Row, Say, left_out
from tests.fakes.cloud.postgres import Postgres, missing
from tests.fakes.cloud.supabase import GENEROUS, ROLES

COURTS, BOOKINGS = 10_000, 24
GOAL = 4000  # calls a second
NEEDED = COURTS / 3
CLIENTS, THREADS = 4, 2
SETTINGS = ("shared_buffers=256MB", "autovacuum=on", "synchronous_commit=off")

SAID = """{"version": "1", "recording": true, "updated_at": "20261120T180000Z", "cpu_percent": 12.5,
 "memory_percent": 40.1, "memory_mb": 300.2, "disk_free_mb": 100000, "disk_percent": 30.5, "temperature_c": 55.5,
 "cameras": {"left": {"state": "streaming", "frames": 108000, "dropped": 0, "last_frame_ms": 12},
 "right": {"state": "streaming", "frames": 108000, "dropped": 0, "last_frame_ms": 14}}, "uptime_s": 1000,
 "queues": {"films": {"recording": 1}, "parked": 0, "outbox": 0, "refused": 0}, "degraded": []}"""
"""A heartbeat. pgbench takes a colon before a digit for a variable of its own: a space keeps them apart."""

FLEET = f"""
insert into ezrec_devices (id, user_id, camera_id) select
  ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'u' || n / 10, 'c' || n
  from generate_series(0, {COURTS - 1}) as n;
insert into bookings (id, user_id, camera_id, start_time, end_time, date)
  select 'b' || n || '-' || k, 'u' || n / 10, 'c' || n, now() + k * interval '1 day',
         now() + k * interval '1 day' + interval '1 h', current_date + k
  from generate_series(0, {COURTS - 1}) as n, generate_series(1, {BOOKINGS}) as k;
do $$ begin
  for n in 0..{COURTS - 1} loop
    perform ezrec_beat(jsonb_build_object('user_id', 'u' || n / 10, 'camera_id', 'c' || n), '{SAID}');
  end loop;
end $$;
"""
SCRIPT = rf"""\set n random(0, {COURTS - 1})
\startpipeline
begin;
select set_config('role', 'ezrec_device', true), set_config('request.jwt.claims',
  '{{"role": "ezrec_device", "sub": "00000000-0000-4000-8000-' || lpad((:n)::text, 12, '0') || '"}}', true);
{{call}}
commit;
\endpipeline
"""
CALLS = {"heartbeats": f"select * from public.ezrec_beat('{{}}', '{SAID}', 30);",
         "reads of bookings": "select * from public.ezrec_bookings('{}', 30);"}


def measure(plan: Plan, say: Say) -> list[Row]:
    """The rows on the fleet."""
    pgbench = Path(Postgres.place() or "") / "pgbench"
    if reason := missing() or (None if pgbench.exists() else f"{pgbench} is missing"):
        return [left_out("a fleet of 10,000 courts", reason)]
    server = Postgres(SETTINGS)
    try:
        say("making 10,000 courts with 240,000 bookings")
        server.create("fleet")
        server.run("fleet", ROLES + GENEROUS + sql() + FLEET)
        server.run("fleet", "vacuum analyze")
        rows = []
        for what, call in CALLS.items():
            say(what)
            script = plan.folder / "fleet.sql"
            script.write_text(SCRIPT.replace("{call}", call), "utf-8")
            rows.append(_row(what, _calls_s(pgbench, server, script, 5 if plan.quick else 30)))
        (hot,) = server.rows("fleet", "select n_tup_hot_upd::float8 / greatest(n_tup_upd, 1) as share from"
                                      " pg_stat_user_tables where relname = 'system_status'")
        rows.append(Row("heartbeats that touch no index", "nine of ten", f"{hot['share']:.0%}", hot["share"] >= 0.9,
                        "HOT updates of system_status, by PostgreSQL's own count"))
        return rows
    finally:
        server.end()


def _calls_s(pgbench: Path, server: Postgres, script: Path, seconds: int) -> float:
    done = subprocess.run(
        [pgbench, "-n", "-M", "prepared", "-c", str(CLIENTS), "-j", str(THREADS), "-T", str(seconds), "-f", script,
         server.url("fleet")], capture_output=True, text=True, check=False)
    found = re.search(r"tps = ([0-9.]+)", done.stdout)
    assert done.returncode == 0, done.stderr
    assert found, done.stdout
    return float(found[1])


def _row(what: str, calls_s: float) -> Row:
    beats = what == "heartbeats"
    return Row(f"{what} a second, 10,000 courts", f"{GOAL:,}" if beats else "", f"{calls_s:,.0f}",
               calls_s >= GOAL if beats else None,
               f"one PostgreSQL and pgbench on {len(os.sched_getaffinity(0))} cores; {NEEDED:,.0f} beats a second are "
               "needed" if beats else "each answer holds 24 bookings; 170 a second are needed", {"calls_s": calls_s})
