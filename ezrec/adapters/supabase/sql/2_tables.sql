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
  add column if not exists user_id text,
  add column if not exists camera_id text,
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
  perform ezrec.keep_index('bookings_by_time', 'bookings', array['user_id', 'camera_id', 'start_time'], false);
  comment on column public.bookings.start_time is 'When recording starts.';
  comment on column public.bookings.end_time is 'When recording ends.';
  perform ezrec.keep_index('bookings_by_date', 'bookings', array['user_id', 'camera_id', 'date'], false,
                           '(date IS NOT NULL)');
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
-- A court's keys are its own: another court may have a booking of the same name. In version 0.1.0 they were everybody's.
alter table if exists public.shared_links drop constraint if exists shared_links_recording_id_fkey;
drop index if exists public.videos_recording_id_key, public.videos_booking_id_key;
do $$ begin
  perform ezrec.keep_index('videos_court_recording_key', 'videos', array['user_id', 'camera_id', 'recording_id'], true);
  perform ezrec.keep_index('videos_court_booking_key', 'videos', array['user_id', 'camera_id', 'booking_id'], true);
  perform ezrec.keep_index('videos_by_court', 'videos', array['user_id', 'camera_id', 'date'], false);
  perform ezrec.keep_index('videos_by_booking', 'videos', array['booking_id'], false);
end $$;

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
  add column if not exists degraded jsonb,
  add column if not exists heard_at timestamptz,
  add column if not exists device_id text,
  add column if not exists box text,
  add column if not exists other_device text,
  add column if not exists other_device_at timestamptz;
do $$ begin
  perform ezrec.keep_index('system_status_court_key', 'system_status', array['user_id', 'camera_id'], true);
end $$;

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
comment on column public.system_status.queues is 'Films with work to do by stage, parked ones, and what is still to be told.';
comment on column public.system_status.last_error is 'The last error that was logged.';
comment on column public.system_status.last_error_at is 'When that was.';
comment on column public.system_status.version is 'EZREC''s version.';
comment on column public.system_status.uptime_s is 'How long EZREC has been running, s.';
comment on column public.system_status.started_at is 'When it was started.';
comment on column public.system_status.degraded is
  'Names of its parts that ended and are being started again; "disk: …" says why its disk is too slow.';
comment on column public.system_status.heard_at is 'When its newest heartbeat came, by the project''s clock.';
comment on column public.system_status.device_id is 'Which device it came from, as in ezrec_devices; null: the secret key.';
comment on column public.system_status.box is 'Which box it came from: the machine''s name and its boot.';
comment on column public.system_status.other_device is
  'Another device or box that reported for the same court; only one of the two should.';
comment on column public.system_status.other_device_at is 'When the other one did so last.';

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
do $$ begin
  perform ezrec.keep_index('user_settings_user_id_key', 'user_settings', array['user_id'], true);
end $$;

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
  recording_id text not null,
  user_id text not null,
  camera_id text not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  revoked_at timestamptz,
  views bigint not null default 0 check (views >= 0),
  downloads bigint not null default 0 check (downloads >= 0),
  last_used_at timestamptz
);
alter table public.shared_links
  add column if not exists token_hash text check (token_hash ~ '^[0-9a-f]{64}$'),
  add column if not exists recording_id text,
  add column if not exists user_id text,
  add column if not exists camera_id text,
  add column if not exists created_at timestamptz not null default now(),
  add column if not exists expires_at timestamptz,
  add column if not exists revoked_at timestamptz,
  add column if not exists views bigint not null default 0 check (views >= 0),
  add column if not exists downloads bigint not null default 0 check (downloads >= 0),
  add column if not exists last_used_at timestamptz;
do $$ begin
  perform ezrec.keep_index('shared_links_token_hash_key', 'shared_links', array['token_hash'], true);
  perform ezrec.keep_index('shared_links_by_court_film', 'shared_links', array['user_id', 'camera_id', 'recording_id'],
                           false);
  drop index if exists public.shared_links_by_film;  -- of version 0.1.0
end $$;

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

-- ----------------------------------------------------------------------------------------------------------- devices

create table if not exists public.ezrec_devices (
  id uuid primary key default gen_random_uuid(),
  user_id text not null check (user_id <> ''),
  camera_id text not null check (camera_id <> ''),
  name text not null default '' check (length(name) <= 200),
  options jsonb not null default '{}' check (jsonb_typeof(options) = 'object'),
  created_at timestamptz not null default now(),
  last_seen timestamptz,
  revoked_at timestamptz
);
create index if not exists ezrec_devices_by_court on public.ezrec_devices (user_id, camera_id);

comment on table public.ezrec_devices is
  'Which device records which court. A device''s token has its id as `sub`. To withdraw one: update ezrec_devices set '
  'revoked_at = now() where id = ''...''; it counts from the device''s next call on.';
comment on column public.ezrec_devices.user_id is 'Whose court, as in bookings.';
comment on column public.ezrec_devices.camera_id is 'Which court, as in bookings.';
comment on column public.ezrec_devices.name is 'Which box it is, for people.';
comment on column public.ezrec_devices.options is
  'How this court''s bookings are kept: camera_ids, cancelled_columns, cancelled_words, status_words (as in the '
  'device''s settings, section bookings).';
comment on column public.ezrec_devices.last_seen is 'When it called last, to the minute.';
comment on column public.ezrec_devices.revoked_at is 'From then on it may do nothing; null: it has not been revoked.';

-- --------------------------------------------------------------------------------------------------- marks and clips

create table if not exists public.ezrec_marks (
  id text not null check (id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$'),
  user_id text not null,
  camera_id text not null,
  booking_id text not null,
  at timestamptz not null,
  seconds double precision not null default 25 check (seconds > 0 and seconds <= 3600),
  label text check (length(label) <= 200),
  created_at timestamptz not null default now(),
  primary key (user_id, camera_id, id)
);
create index if not exists ezrec_marks_by_booking on public.ezrec_marks (user_id, camera_id, booking_id);

comment on table public.ezrec_marks is 'Moments of a match that somebody marked: the seconds before each are worth a clip.';
comment on column public.ezrec_marks.id is 'The mark''s own key, given by the device.';
comment on column public.ezrec_marks.user_id is 'As in bookings.';
comment on column public.ezrec_marks.camera_id is 'As in bookings.';
comment on column public.ezrec_marks.booking_id is 'In whose time it was made, as in videos.';
comment on column public.ezrec_marks.at is 'The moment.';
comment on column public.ezrec_marks.seconds is 'How much before it is meant, s.';
comment on column public.ezrec_marks.label is 'What it is called, or null.';

create table if not exists public.ezrec_clips (
  id text not null check (id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$'),
  user_id text not null,
  camera_id text not null,
  recording_id text not null,
  mark_id text,
  from_seconds double precision not null check (from_seconds >= 0),
  seconds double precision not null check (seconds > 0),
  storage_path text not null,
  clip_url text not null,
  file_size bigint check (file_size >= 0),
  created_at timestamptz not null default now(),
  primary key (user_id, camera_id, id),
  constraint ezrec_clips_of_mark foreign key (user_id, camera_id, mark_id)
    references public.ezrec_marks (user_id, camera_id, id)
);
create index if not exists ezrec_clips_by_film on public.ezrec_clips (user_id, camera_id, recording_id);
create index if not exists ezrec_clips_by_mark on public.ezrec_clips (user_id, camera_id, mark_id);

comment on table public.ezrec_clips is 'Pieces of films, each stored as a file of its own.';
comment on column public.ezrec_clips.id is 'The clip''s own key, given by the device.';
comment on column public.ezrec_clips.user_id is 'As in bookings.';
comment on column public.ezrec_clips.camera_id is 'As in bookings.';
comment on column public.ezrec_clips.recording_id is 'The film it was cut from, as in videos.';
comment on column public.ezrec_clips.mark_id is 'The mark it was cut for, as in ezrec_marks; null: for none.';
comment on column public.ezrec_clips.from_seconds is 'Where in the film it begins, s.';
comment on column public.ezrec_clips.seconds is 'How long it is, s.';
comment on column public.ezrec_clips.storage_path is 'The clip''s key in the object storage.';
comment on column public.ezrec_clips.clip_url is 'Where the clip is found.';
comment on column public.ezrec_clips.file_size is 'Bytes.';

-- ---------------------------------------------------------------------------------------------- foreign keys by court

do $$ declare
  one record;
begin
  for one in select * from (values ('shared_links', 'shared_links_of_film', 'cascade'),
                                   ('ezrec_clips', 'ezrec_clips_of_film', 'cascade')) as each (name, key, gone) loop
    if exists (select from pg_constraint where conname = one.key
                  and conrelid = to_regclass('public.' || one.name)) then
      continue;
    end if;
    begin
      execute format('alter table public.%I add constraint %I foreign key (user_id, camera_id, recording_id) references '
                     'public.videos (user_id, camera_id, recording_id) on delete %s', one.name, one.key, one.gone);
    exception when datatype_mismatch or foreign_key_violation then null;  -- an older table; the functions look themselves
    end;
  end loop;
end $$;

