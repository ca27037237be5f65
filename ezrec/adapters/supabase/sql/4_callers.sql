-- ------------------------------------------------------------------------------------------- who calls, and what he may

create or replace function public.ezrec_stamp_status() returns trigger language plpgsql set search_path = '' as $$
begin  -- no `when` at the trigger: it would keep the venue from altering these columns
  if (old.status, old.status_reason) is distinct from (new.status, new.status_reason) then
    new.status_at := now();
  end if;
  return new;
end $$;
comment on function public.ezrec_stamp_status is 'Says when a booking''s status changed.';

create or replace trigger ezrec_stamp_status before update on public.bookings for each row
  execute function public.ezrec_stamp_status();

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

create or replace function ezrec.object(given jsonb) returns jsonb language plpgsql immutable set search_path = '' as $$
begin  -- functions that every heartbeat calls are plpgsql: those in SQL are planned anew with every call
  return case jsonb_typeof(given) when 'string' then (given #>> '{}')::jsonb else given end;
end $$;
comment on function ezrec.object is 'An argument as an object: some servers hand one on as a text that holds it.';

create or replace function ezrec.words_of(list jsonb) returns text[] language sql immutable set search_path = '' as
  $$ select array(select jsonb_array_elements_text(case jsonb_typeof(list) when 'array' then list else '[]' end)) $$;
comment on function ezrec.words_of is 'A list of words as an array; of what is none, an empty one.';

create or replace function ezrec.caller(court jsonb, out user_id text, out camera_id text, out device uuid,
  out seen timestamptz, out also text[], out options jsonb)
language plpgsql stable set search_path = '' as $$
declare
  given constant jsonb := coalesce(case jsonb_typeof(court) when 'string' then (court #>> '{}')::jsonb else court end, '{}');
  acting constant text := coalesce(nullif(current_setting('role', true), ''), 'none');
  claims constant jsonb := coalesce(nullif(current_setting('request.jwt.claims', true), '')::jsonb, '{}');
  revoked timestamptz;
begin
  if acting = 'ezrec_device' or claims ->> 'role' = 'ezrec_device' then
    begin
      select one.id, one.user_id, one.camera_id, one.last_seen, one.options, one.revoked_at
        into device, user_id, camera_id, seen, options, revoked
        from public.ezrec_devices as one where one.id = (claims ->> 'sub')::uuid;
    exception when invalid_text_representation then null;  -- a token that is no device's
    end;
    if device is null then
      raise exception 'this token''s device is not known' using errcode = 'PT401',
        hint = 'its `sub` must be the id of a row in ezrec_devices';
    elsif revoked <= now() then
      raise exception 'the device % of court % was revoked at %', device, camera_id, revoked
        using errcode = 'PT401', hint = 'give the box a device and a token of its own';
    elsif coalesce(given ->> 'user_id', user_id) <> user_id or coalesce(given ->> 'camera_id', camera_id) <> camera_id then
      raise exception 'this token is for court % of %', camera_id, user_id using errcode = '42501',
        hint = 'site.user_id and site.camera_id must say the same';
    end if;
  elsif acting = 'service_role' or (session_user <> 'authenticator' and acting not in ('anon', 'authenticated')) then
    user_id := given ->> 'user_id';
    camera_id := given ->> 'camera_id';
    options := coalesce(given -> 'options', '{}');
    if coalesce(user_id, '') = '' or coalesce(camera_id, '') = '' then
      raise exception 'which court is meant? the argument `court` lacks user_id or camera_id' using errcode = '22023';
    end if;
  else
    raise exception 'only devices and the project''s secret key may call this' using errcode = '42501';
  end if;
  also := case when options ? 'camera_ids' then ezrec.words_of(options -> 'camera_ids') else '{}' end;
end $$;
comment on function ezrec.caller is
  'The court that a call is for, and the device that makes it (null: the secret key). Refuses a device that is unknown or '
  'revoked (HTTP 401), and one that means another court (42501).';

create or replace function ezrec.fitted(of_table text, given jsonb) returns jsonb language plpgsql stable
set search_path = '' as $$
declare
  one record;
  fits jsonb := given;
  room integer;
begin
  for one in select key, value #>> '{}' as text, jsonb_typeof(value) as kind, format_type(atttypid, atttypmod) as type
               from jsonb_each(given) left join pg_catalog.pg_attribute
                 on attrelid = to_regclass('public.' || of_table) and attname = key and attnum > 0 and not attisdropped loop
    room := substring(one.type from '^character.*[(]([0-9]+)[)]$');
    if one.type is null then
      fits := fits - one.key;
    elsif length(one.text) > room and one.key = 'filename' then
      fits := fits || jsonb_build_object(one.key, left(one.text, room));
    elsif one.text is not null then
      begin
        if one.type in ('smallint', 'integer', 'bigint') and one.kind = 'number' then
          one.text := round(one.text::numeric)::text;
          fits := fits || jsonb_build_object(one.key, one.text::numeric);
        end if;
        execute format('select %L::%s', one.text, one.type);
        if length(one.text) > room then
          raise string_data_right_truncation;
        end if;
      exception when data_exception or integrity_constraint_violation then
        if one.key not in ('user_id', 'camera_id', 'recording_id', 'storage_path', 'video_url') then
          fits := fits || jsonb_build_object(one.key, null);
        end if;
      end;
    end if;
  end loop;
  return fits;
end $$;
comment on function ezrec.fitted is
  'A row for a table whose columns have other types than ours: numbers are rounded for integers, a file''s name is cut, '
  'what else a column cannot hold is null, and what it lacks is left out. Keys stay as they are.';

create or replace function ezrec.word(ours text, options jsonb) returns text language sql immutable
set search_path = '' as $$ select coalesce(options -> 'status_words' ->> ours, ours) $$;
comment on function ezrec.word is 'The venue''s word for one of our words of status; empty: it has none.';

create or replace function ezrec.step(shown text, options jsonb) returns integer language sql immutable
set search_path = '' as $$
  select min(place)::integer from unnest(array['recording', 'completed', 'video_processed', 'video_uploaded'])
    with ordinality as ours (word, place)
   where lower(trim(shown)) in (word, lower(ezrec.word(word, options))) $$;
comment on function ezrec.step is 'How far a booking is by its status: 1 recording to 4 video_uploaded; null: not begun, or failed.';

create or replace function ezrec.may_tell(shown text, ours text, options jsonb, more_cancelled text[] default '{}')
returns boolean language sql immutable set search_path = '' as $$
  select case
    when ours not in ('recording', 'completed', 'video_processed', 'video_uploaded', 'failed') then false
    when lower(trim(shown)) = any (more_cancelled || case when options ? 'cancelled_words'
      then ezrec.words_of(options -> 'cancelled_words')
      else array['cancelled', 'canceled', 'rejected', 'no_show'] end) then false
    when ours = 'failed' then ezrec.step(shown, options) is distinct from 4
    else ezrec.step(ours, '{}') > coalesce(ezrec.step(shown, options), 0) end $$;
comment on function ezrec.may_tell is
  'Whether a booking''s status may go from the word shown to one of ours: only forward, out of failed to anywhere, to '
  'failed from all but the last, and never away from a word that means cancelled.';

