-- The tables that EZREC's devices and the venue's own programs share.
--
-- Safe to run again, and on a project that is in use: what is there stays, what is missing is added, and if anything
-- fails nothing is changed. A key that cannot be made because a table holds doubles is such a failure: take them out
-- first. Row level security is switched on for the tables that this makes and for no others.
--
-- A device with the project's secret key may do everything. A device with a JWT of its own (role authenticated, with its
-- user_id and camera_id as claims) may only touch rows that carry both. What players and owners may see is not said
-- here: give them grants and policies of their own.

begin;
set local client_min_messages = warning;

create temporary table made_here on commit drop as
  select name from unnest(array['bookings', 'videos', 'system_status', 'user_settings', 'shared_links']) as name
   where to_regclass('public.' || name) is null;

-- ---------------------------------------------------------------------------------------------------------- bookings

create table if not exists public.bookings (
  id text primary key default gen_random_uuid()::text,
  user_id text not null,
  camera_id text not null,
  start_time timestamptz not null,
  end_time timestamptz not null,
  date date,
  created_at timestamptz not null default now(),
  constraint bookings_id_plain check (id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$' and id !~ '[.][.]'),
  constraint bookings_end_after_start check (end_time > start_time)
);
alter table public.bookings
  add column if not exists status text not null default 'scheduled' check (length(status) between 1 and 64),
  add column if not exists status_reason text,
  add column if not exists status_at timestamptz;

comment on table public.bookings is 'Times that are to be recorded on a court.';
comment on column public.bookings.id is 'Letters, digits, . _ -; at most 128 characters.';
comment on column public.bookings.user_id is 'Whose court: site.user_id in the device''s settings.';
comment on column public.bookings.camera_id is 'Which court: site.camera_id in the device''s settings.';
comment on column public.bookings.status is
  'The venue''s words (scheduled, cancelled, ...), then the device''s: recording, completed (recorded), video_processed, '
  'video_uploaded; or failed. The device only goes forward, except out of failed, and never writes over a word that '
  'means cancelled.';
comment on column public.bookings.status_reason is 'Why it is failed, in words; otherwise null. Written by the device.';
comment on column public.bookings.status_at is 'When status or status_reason changed last.';

do $$ begin  -- where an older table names its times otherwise, this is left out
  create index if not exists bookings_by_time on public.bookings (user_id, camera_id, start_time);
  comment on column public.bookings.start_time is 'When recording starts.';
  comment on column public.bookings.end_time is 'When recording ends.';
  create index if not exists bookings_by_date on public.bookings (user_id, camera_id, date) where date is not null;
  comment on column public.bookings.date is
    'The booking''s local day, for people. It counts only where start_time and end_time are local times such as 18:00.';
exception when undefined_column then null;
end $$;

create or replace function public.ezrec_stamp_status() returns trigger language plpgsql set search_path = '' as $$
begin
  new.status_at := now();
  return new;
end $$;
comment on function public.ezrec_stamp_status is 'Says when a booking''s status changed.';

create or replace trigger ezrec_stamp_status before update on public.bookings for each row
  when ((old.status, old.status_reason) is distinct from (new.status, new.status_reason))
  execute function public.ezrec_stamp_status();

-- ------------------------------------------------------------------------------------------------------------ videos

create table if not exists public.videos (
  id text primary key default gen_random_uuid()::text,
  recording_id text not null,
  booking_id text not null,
  user_id text not null,
  camera_id text not null,
  storage_path text not null,
  video_url text not null,
  poster_url text,
  duration_seconds double precision not null check (duration_seconds >= 0),
  file_size bigint not null check (file_size >= 0),
  filename text not null,
  date date not null,
  uploaded_at timestamptz not null
);
alter table public.videos
  add column if not exists recording_id text,
  add column if not exists booking_id text,
  add column if not exists user_id text,
  add column if not exists camera_id text,
  add column if not exists storage_path text,
  add column if not exists video_url text,
  add column if not exists poster_url text,
  add column if not exists duration_seconds double precision,
  add column if not exists file_size bigint,
  add column if not exists filename text,
  add column if not exists date date,
  add column if not exists uploaded_at timestamptz,
  add column if not exists created_at timestamptz not null default now(),
  add column if not exists updated_at timestamptz not null default now();
create unique index if not exists videos_recording_id_key on public.videos (recording_id);
create unique index if not exists videos_booking_id_key on public.videos (booking_id);
create index if not exists videos_by_court on public.videos (user_id, camera_id, date);

comment on table public.videos is 'Finished films, whole and verified at storage_path: one row for each booking.';
comment on column public.videos.recording_id is 'The film''s own key: however often it is published, it is one row.';
comment on column public.videos.booking_id is
  'Whose film. A booking has one; another recording of it is refused. For a booking made at the court whose id was used '
  'before: id@ and its start in UTC.';
comment on column public.videos.user_id is 'As in bookings.';
comment on column public.videos.camera_id is 'As in bookings.';
comment on column public.videos.storage_path is 'The film''s key in the object storage.';
comment on column public.videos.video_url is 'Where the film is found.';
comment on column public.videos.poster_url is 'Where a still of it is found; empty or null: nowhere.';
comment on column public.videos.duration_seconds is 'Length of the film, intro included.';
comment on column public.videos.file_size is 'Bytes.';
comment on column public.videos.filename is 'Name for a download.';
comment on column public.videos.date is 'The booking''s local day.';
comment on column public.videos.uploaded_at is 'When the object was complete.';
comment on column public.videos.updated_at is 'When this row changed last.';

-- ----------------------------------------------------------------------------------------------------- system_status

create table if not exists public.system_status (
  user_id text not null,
  camera_id text not null,
  primary key (user_id, camera_id)
) with (fillfactor = 50);  -- rewritten every few seconds: room on the page saves the index the trouble
alter table public.system_status
  add column if not exists updated_at timestamptz,
  add column if not exists cpu_percent double precision,
  add column if not exists memory_percent double precision,
  add column if not exists memory_mb double precision,
  add column if not exists disk_free_mb double precision,
  add column if not exists disk_percent double precision,
  add column if not exists temperature_c double precision,
  add column if not exists throttled text,
  add column if not exists recording boolean,
  add column if not exists current_booking_id text,
  add column if not exists cameras jsonb,
  add column if not exists preflight jsonb,
  add column if not exists queues jsonb,
  add column if not exists last_error text,
  add column if not exists last_error_at timestamptz,
  add column if not exists version text,
  add column if not exists uptime_s double precision,
  add column if not exists started_at timestamptz,
  add column if not exists degraded jsonb;
create unique index if not exists system_status_court_key on public.system_status (user_id, camera_id);

comment on table public.system_status is 'How each device is, as of its last heartbeat: one row, rewritten every 3 s.';
comment on column public.system_status.user_id is 'As in bookings.';
comment on column public.system_status.camera_id is 'As in bookings.';
comment on column public.system_status.updated_at is 'When the device said so, by its own clock. Old: it is off or offline.';
comment on column public.system_status.cpu_percent is 'Load of all cores, 0 to 100.';
comment on column public.system_status.memory_percent is 'Used memory of the machine, 0 to 100.';
comment on column public.system_status.memory_mb is 'Memory that EZREC takes, MiB.';
comment on column public.system_status.disk_free_mb is 'Free on the disk of the data folder, MiB.';
comment on column public.system_status.disk_percent is 'Used of that disk, 0 to 100.';
comment on column public.system_status.temperature_c is 'Of the processor, degrees Celsius.';
comment on column public.system_status.throttled is 'Why the processor is held back (heat, power), or null.';
comment on column public.system_status.recording is 'Whether cameras are being recorded now.';
comment on column public.system_status.current_booking_id is 'The booking that is being recorded, or null.';
comment on column public.system_status.cameras is 'Each camera by name: state, frames, dropped, last_frame_ms, ...';
comment on column public.system_status.preflight is 'The newest look at the cameras before a booking: booking_id, at, problems; or null.';
comment on column public.system_status.queues is 'Films with work to do by stage, parked ones, what is still to be told, and refused_bookings: rows that are no bookings, and why.';
comment on column public.system_status.last_error is 'The last error that was logged.';
comment on column public.system_status.last_error_at is 'When that was.';
comment on column public.system_status.version is 'EZREC''s version.';
comment on column public.system_status.uptime_s is 'How long EZREC has been running, s.';
comment on column public.system_status.started_at is 'When it was started.';
comment on column public.system_status.degraded is 'Names of its parts that ended and are being started again.';

-- ----------------------------------------------------------------------------------------------------- user_settings

create table if not exists public.user_settings (user_id text primary key);
alter table public.user_settings
  add column if not exists intro_path text,
  add column if not exists company_logo_path text,
  add column if not exists company_logo_position text,
  add column if not exists company_logo_width double precision,
  add column if not exists venue_logo_path text,
  add column if not exists venue_logo_position text,
  add column if not exists venue_logo_width double precision,
  add column if not exists sponsor_logo_path text,
  add column if not exists sponsor_logo_position text,
  add column if not exists sponsor_logo_width double precision,
  add column if not exists sponsor_2_logo_path text,
  add column if not exists sponsor_2_logo_position text,
  add column if not exists sponsor_2_logo_width double precision,
  add column if not exists sponsor_3_logo_path text,
  add column if not exists sponsor_3_logo_position text,
  add column if not exists sponsor_3_logo_width double precision,
  add column if not exists updated_at timestamptz not null default now();
create unique index if not exists user_settings_user_id_key on public.user_settings (user_id);

comment on table public.user_settings is 'What an owner''s films are dressed with. Unusable values are left out.';
comment on column public.user_settings.user_id is 'As in bookings.';
do $$ declare logo text; begin
  execute 'comment on column public.user_settings.intro_path is ''Key of the intro clip in the bucket of media, or null.''';
  foreach logo in array array['company', 'venue', 'sponsor', 'sponsor_2', 'sponsor_3'] loop
    execute format('comment on column public.user_settings.%I is %L', logo || '_logo_path',
                   'Key of this logo in the bucket of media, or null: none.');
    execute format('comment on column public.user_settings.%I is %L', logo || '_logo_position',
                   'top_left, top_right, bottom_left or bottom_right; null: the default.');
    execute format('comment on column public.user_settings.%I is %L', logo || '_logo_width',
                   'Width as a fraction of the film''s, 0.01 to 1; null: the default.');
  end loop;
end $$;
comment on column public.user_settings.updated_at is 'When this row changed last.';

-- ------------------------------------------------------------------------------------------------------ shared_links

create table if not exists public.shared_links (
  token_hash text primary key check (token_hash ~ '^[0-9a-f]{64}$'),
  recording_id text not null references public.videos (recording_id) on delete cascade,
  user_id text not null,
  camera_id text not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  revoked_at timestamptz,
  views bigint not null default 0 check (views >= 0),
  downloads bigint not null default 0 check (downloads >= 0),
  last_used_at timestamptz
);
create index if not exists shared_links_by_film on public.shared_links (recording_id);

comment on table public.shared_links is 'Links through which a film is shown to whoever has one.';
comment on column public.shared_links.token_hash is 'SHA-256 of the link''s secret, hex: who reads this table cannot use it.';
comment on column public.shared_links.recording_id is 'The film, as in videos.';
comment on column public.shared_links.user_id is 'As in bookings.';
comment on column public.shared_links.camera_id is 'As in bookings.';
comment on column public.shared_links.expires_at is 'From then on it shows nothing; null: it does not expire.';
comment on column public.shared_links.revoked_at is 'From then on it shows nothing; null: it has not been revoked.';
comment on column public.shared_links.views is 'How often its page was opened.';
comment on column public.shared_links.downloads is 'How often the film was fetched through it.';
comment on column public.shared_links.last_used_at is 'When it was opened last.';

-- --------------------------------------------------------------------------------------------------------- functions

create or replace function public.ezrec_stamp_row() returns trigger language plpgsql set search_path = '' as $$
begin
  new.updated_at := now();
  return new;
end $$;
comment on function public.ezrec_stamp_row is 'Says when a row changed.';

create or replace trigger ezrec_stamp_row before update on public.videos for each row
  when (old.* is distinct from new.*) execute function public.ezrec_stamp_row();
create or replace trigger ezrec_stamp_row before update on public.user_settings for each row
  when (old.* is distinct from new.*) execute function public.ezrec_stamp_row();

create or replace function public.ezrec_claim(name text) returns text language sql stable set search_path = '' as
  $$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> name $$;
comment on function public.ezrec_claim is 'A claim of the caller''s JWT, or null.';

create or replace function public.publish_video(video jsonb, keep_statuses text[] default '{}')
returns setof public.videos language plpgsql set search_path = '' as $$
declare
  row_of constant jsonb := case jsonb_typeof(video)  -- some servers hand an object on as a text that holds it
    when 'string' then (video #>> '{}')::jsonb else video end;
  given constant public.videos := jsonb_populate_record(null::public.videos, row_of);
  booking constant public.bookings.id%type := row_of ->> 'booking_id';
begin
  insert into public.videos as known
    (recording_id, booking_id, user_id, camera_id, storage_path, video_url, poster_url, duration_seconds, file_size,
     filename, date, uploaded_at)
  values
    (given.recording_id, given.booking_id, given.user_id, given.camera_id, given.storage_path, given.video_url,
     given.poster_url, given.duration_seconds, given.file_size, given.filename, given.date, given.uploaded_at)
  on conflict (recording_id) do update set
    storage_path = excluded.storage_path, video_url = excluded.video_url, poster_url = excluded.poster_url,
    duration_seconds = excluded.duration_seconds, file_size = excluded.file_size, filename = excluded.filename,
    date = excluded.date, uploaded_at = excluded.uploaded_at
  where (known.booking_id, known.user_id, known.camera_id)
    is not distinct from (excluded.booking_id, excluded.user_id, excluded.camera_id);
  if not found then
    raise exception 'recording % is another booking''s', given.recording_id using errcode = 'unique_violation';
  end if;

  update public.bookings as told set status = 'video_uploaded', status_reason = null
   where told.id = booking
     and told.user_id::text = given.user_id::text and told.camera_id::text = given.camera_id::text
     and told.status is distinct from 'video_uploaded'
     and lower(trim(coalesce(told.status, ''))) <> all (keep_statuses);

  return query select * from public.videos as row where row.recording_id = given.recording_id;
end $$;
comment on function public.publish_video is
  'Puts a film''s row in and moves its booking to video_uploaded, both or neither; again changes nothing. Another recording '
  'of the same booking is refused (23505). keep_statuses: words, in lower case, that the booking''s status is left at.';

-- ---------------------------------------------------------------------------------------------------- who may do what

do $$
declare
  own constant text := 'user_id::text = (select public.ezrec_claim(''user_id'')) '
                       'and camera_id::text = (select public.ezrec_claim(''camera_id''))';
  name text;
begin
  for name in select made_here.name from made_here loop
    execute format('alter table public.%I enable row level security', name);
  end loop;
  if (select count(*) from pg_roles where rolname in ('anon', 'authenticated', 'service_role')) < 3 then
    return;  -- not a Supabase project: whoever owns the tables decides
  end if;

  for name in select made_here.name from made_here loop
    execute format('revoke all on public.%I from anon, authenticated', name);
  end loop;
  grant all on public.bookings, public.videos, public.system_status, public.user_settings, public.shared_links
    to service_role;
  grant select on public.bookings, public.user_settings to authenticated;
  grant update (status, status_reason) on public.bookings to authenticated;
  grant select, insert, update on public.videos, public.system_status, public.shared_links to authenticated;
  revoke execute on function public.publish_video from public, anon;
  grant execute on function public.publish_video, public.ezrec_claim to authenticated, service_role;

  foreach name in array array['bookings', 'videos', 'system_status', 'shared_links'] loop
    execute format('drop policy if exists ezrec_device on public.%I', name);
    execute format('create policy ezrec_device on public.%I to authenticated using (%s) with check (%2$s)', name, own);
  end loop;
  drop policy if exists ezrec_device on public.user_settings;
  create policy ezrec_device on public.user_settings for select to authenticated
    using (user_id::text = (select public.ezrec_claim('user_id')));
end $$;

notify pgrst, 'reload schema';
commit;
