-- ------------------------------------------------------------------------------------------------------------- films

drop function if exists public.publish_video(jsonb, text[]);  -- of version 0.1.0; its callers reach the new one
create or replace function public.publish_video(video jsonb, keep_statuses text[] default '{}', court jsonb default null)
returns setof public.videos language plpgsql security definer set search_path = '' as $$
declare
  said constant jsonb := ezrec.object(video);
  who constant record := ezrec.caller(coalesce(ezrec.object(court), '{}')
    || jsonb_build_object('user_id', said ->> 'user_id', 'camera_id', said ->> 'camera_id'));
  fits jsonb := ezrec.fitted('videos', said || jsonb_build_object('user_id', who.user_id, 'camera_id', who.camera_id));
  booking constant record := ezrec.booking_for(said ->> 'booking_id', who.user_id, who.camera_id, who.also);
  given public.videos;
begin
  if booking.known and not booking.own then
    raise exception 'booking % is another court''s', said ->> 'booking_id' using errcode = '42501';
  elsif not booking.known and exists (
      select from pg_catalog.pg_constraint join pg_catalog.pg_attribute on attrelid = conrelid and attnum = any (conkey)
       where conrelid = 'public.videos'::regclass and contype = 'f' and attname = 'booking_id') then
    fits := fits || '{"booking_id": null}';  -- made at the court: an older table cannot name it
  end if;
  given := jsonb_populate_record(null::public.videos, fits);
  insert into public.videos as known
    (recording_id, booking_id, user_id, camera_id, storage_path, video_url, poster_url, duration_seconds, file_size,
     filename, date, uploaded_at)
  values
    (given.recording_id, given.booking_id, given.user_id, given.camera_id, given.storage_path, given.video_url,
     given.poster_url, given.duration_seconds, given.file_size, given.filename, given.date, given.uploaded_at)
  on conflict (user_id, camera_id, recording_id) do update set
    storage_path = excluded.storage_path, video_url = excluded.video_url, poster_url = excluded.poster_url,
    duration_seconds = excluded.duration_seconds, file_size = excluded.file_size, filename = excluded.filename,
    date = excluded.date, uploaded_at = excluded.uploaded_at
  where known.booking_id is not distinct from excluded.booking_id;
  if not found then
    raise exception 'recording % is another booking''s', given.recording_id using errcode = 'PT409';
  end if;

  begin  -- a status that cannot be told keeps no film from its players
    perform ezrec.tell(said ->> 'booking_id', who.user_id, who.camera_id, who.also, who.options, 'video_uploaded', null,
                       keep_statuses);
  exception
    when transaction_rollback or lock_not_available or query_canceled then raise;
    when others then
      raise warning 'the status of booking % cannot be told: %', said ->> 'booking_id', sqlerrm;
  end;

  return query select * from public.videos as row where row.user_id = given.user_id and row.camera_id = given.camera_id
                  and row.recording_id = given.recording_id;
end $$;
comment on function public.publish_video is
  'Puts a film''s row in and moves its booking to video_uploaded, if that word can be told; again changes nothing. Another '
  'recording of the same booking is refused (23505), and so is the booking of another court (42501). keep_statuses: '
  'words, in lower case, that the booking''s status is left at.';

create or replace function public.ezrec_videos(court jsonb, booking text)
returns table (recording_id text, date text, storage_path text) language plpgsql security definer
set search_path = '' as $$
declare
  who constant record := ezrec.caller(court);
begin
  return query select film.recording_id::text, left(film.date::text, 10), film.storage_path::text
    from public.videos as film
   where film.booking_id::text = booking and film.user_id::text = who.user_id
     and (film.camera_id::text = any (who.also || who.camera_id) or film.camera_id is null);
end $$;
comment on function public.ezrec_videos is 'The films of a booking of this court.';

create or replace function public.ezrec_settings(court jsonb) returns setof public.user_settings
language plpgsql security definer set search_path = '' as $$
declare
  who constant record := ezrec.caller(court);
begin
  return query select * from public.user_settings as row where row.user_id::text = who.user_id limit 1;
end $$;
comment on function public.ezrec_settings is 'What the films of this court''s owner are dressed with.';

-- --------------------------------------------------------------------------------------------- marks, clips, erasure

create or replace function ezrec.film_of(recording text, owner text, court text) returns boolean language sql stable
set search_path = '' as $$
  select exists (select from public.videos as film where film.recording_id::text = recording
                    and film.user_id::text = owner and film.camera_id::text = court) $$;
comment on function ezrec.film_of is 'Whether a film is this court''s.';

create or replace function public.ezrec_mark_put(court jsonb, mark jsonb) returns table (id text)
language plpgsql security definer set search_path = '' as $$
declare
  who constant record := ezrec.caller(court);
  given constant public.ezrec_marks := jsonb_populate_record(null::public.ezrec_marks, ezrec.object(mark));
  booking constant record := ezrec.booking_for(given.booking_id, who.user_id, who.camera_id, who.also);
begin
  if booking.known and not booking.own then
    raise exception 'booking % is another court''s', given.booking_id using errcode = '42501';
  end if;
  insert into public.ezrec_marks as known (id, user_id, camera_id, booking_id, at, seconds, label)
  values (given.id, who.user_id, who.camera_id, given.booking_id, given.at, coalesce(given.seconds, 25), given.label)
  on conflict on constraint ezrec_marks_pkey do update set seconds = excluded.seconds, label = excluded.label;
  id := given.id;
  return next;
end $$;
comment on function public.ezrec_mark_put is 'Keeps a mark of this court (id, booking_id, at; seconds, label); again changes nothing.';

create or replace function public.ezrec_clip_put(court jsonb, clip jsonb) returns table (id text)
language plpgsql security definer set search_path = '' as $$
declare
  who constant record := ezrec.caller(court);
  given constant public.ezrec_clips := jsonb_populate_record(null::public.ezrec_clips, ezrec.object(clip));
begin
  if not ezrec.film_of(given.recording_id, who.user_id, who.camera_id) then
    raise exception 'this court has no film %', given.recording_id using errcode = '42501';
  end if;
  insert into public.ezrec_clips as known
    (id, user_id, camera_id, recording_id, mark_id, from_seconds, seconds, storage_path, clip_url, file_size)
  values
    (given.id, who.user_id, who.camera_id, given.recording_id, given.mark_id, given.from_seconds, given.seconds,
     given.storage_path, given.clip_url, given.file_size)
  on conflict on constraint ezrec_clips_pkey do update set storage_path = excluded.storage_path, clip_url = excluded.clip_url,
    file_size = excluded.file_size;
  id := given.id;
  return next;
end $$;
comment on function public.ezrec_clip_put is
  'Keeps a clip of a film of this court (id, recording_id, from_seconds, seconds, storage_path, clip_url; mark_id, '
  'file_size); again changes nothing.';

create or replace function public.ezrec_erase(court jsonb, booking text)
returns table (videos bigint, links bigint, clips bigint, marks bigint) language plpgsql security definer
set search_path = '' as $$
declare
  who constant record := ezrec.caller(court);
  films constant text[] := array(select film.recording_id::text from public.videos as film
    where film.booking_id::text = booking and film.user_id::text = who.user_id and film.camera_id::text = who.camera_id);
begin
  delete from public.ezrec_clips as row
   where row.user_id = who.user_id and row.camera_id = who.camera_id and row.recording_id = any (films);
  get diagnostics clips = row_count;
  delete from public.ezrec_marks as row
   where row.user_id = who.user_id and row.camera_id = who.camera_id and row.booking_id = booking;
  get diagnostics marks = row_count;
  delete from public.shared_links as row
   where row.user_id::text = who.user_id and row.camera_id::text = who.camera_id and row.recording_id = any (films);
  get diagnostics links = row_count;
  delete from public.videos as film
   where film.user_id::text = who.user_id and film.camera_id::text = who.camera_id and film.recording_id::text = any (films);
  get diagnostics videos = row_count;
  return next;
end $$;
comment on function public.ezrec_erase is
  'Removes the rows of a booking''s films with their links, clips and marks; how many there were. The objects are the '
  'device''s to delete.';

-- ------------------------------------------------------------------------------------------------------------- links

create or replace function public.ezrec_link_make(court jsonb, token_hash text, recording text,
  expires_at timestamptz default null) returns table (link text) language plpgsql security definer
set search_path = '' as $$
declare
  who constant record := ezrec.caller(court);
begin
  if token_hash is null or token_hash !~ '^[0-9a-f]{64}$' then
    raise exception 'token_hash must be a SHA-256 in hex' using errcode = '22023';
  elsif not ezrec.film_of(recording, who.user_id, who.camera_id) then
    raise exception 'this court has no film %', recording using errcode = '42501';
  end if;
  execute format('insert into public.shared_links (token_hash, recording_id, user_id, camera_id, expires_at) '
                 'values ($1, $2, $3::%s, $4::%s, $5) on conflict (token_hash) do nothing',
                 ezrec.columns('shared_links') ->> 'user_id', ezrec.columns('shared_links') ->> 'camera_id')
    using token_hash, recording, who.user_id, who.camera_id, expires_at;
  return query select one.token_hash from public.shared_links as one
    where one.token_hash = ezrec_link_make.token_hash and one.user_id::text = who.user_id
      and one.camera_id::text = who.camera_id and one.recording_id = recording;
end $$;
comment on function public.ezrec_link_make is
  'Keeps a link to a film of this court by the SHA-256 of its secret; nothing, if that is another film''s. Again changes '
  'nothing.';

create or replace function public.ezrec_link_revoke(court jsonb, token_hash text)
returns table (revoked_at timestamptz) language plpgsql security definer set search_path = '' as $$
declare
  who constant record := ezrec.caller(court);
begin
  update public.shared_links as one set revoked_at = coalesce(one.revoked_at, now())
   where one.token_hash = ezrec_link_revoke.token_hash and one.user_id::text = who.user_id
     and (one.camera_id::text = who.camera_id or one.camera_id is null)
  returning one.revoked_at into revoked_at;
  if found then
    return next;
  end if;
end $$;
comment on function public.ezrec_link_revoke is 'Ends a link of this court; nothing, if it has no such link.';

create or replace function ezrec.count_view(token_hash text, download boolean) returns boolean language plpgsql
security definer set search_path = '' as $$
begin
  update public.shared_links as one set
    views = one.views + case when download then 0 else 1 end,
    downloads = one.downloads + case when download then 1 else 0 end, last_used_at = now()
   where one.token_hash = count_view.token_hash and one.revoked_at is null
     and (one.expires_at is null or one.expires_at > now());
  return found;
end $$;
comment on function ezrec.count_view is 'Counts a view or a download of a link that still holds; whether it does.';

create or replace function public.ezrec_link_seen(token_hash text, download boolean default false) returns boolean
language sql set search_path = '' as $$ select ezrec.count_view(token_hash, coalesce(download, false)) $$;
comment on function public.ezrec_link_seen is
  'Counts a view (or a download) of a link by the SHA-256 of its secret; whether the link still holds. The one function '
  'that anybody may call.';

