-- ---------------------------------------------------------------------------------------------------- what would not work

create or replace function ezrec.tried(what text, court jsonb, said jsonb, out problem text, out code text,
  out by_constraint text) language plpgsql set search_path = '' as $$
begin
  begin
    if what = 'videos' then
      perform public.publish_video(one, '{}', court)
         from jsonb_array_elements(case jsonb_typeof(said) when 'array' then said else jsonb_build_array(said) end) as one;
    else
      perform public.ezrec_beat(court, said);
    end if;
    set constraints all immediate;
    raise exception 'undone' using errcode = 'EZ000';
  exception
    when sqlstate 'EZ000' then null;
    when others then
      get stacked diagnostics by_constraint = constraint_name;
      problem := sqlerrm;
      code := sqlstate;
  end;
end $$;
comment on function ezrec.tried is 'Why a row, or a list of films, cannot be put in; null if it can. It is taken out again.';

create or replace function ezrec.without(rule text, of_table text) returns text language sql stable
set search_path = '' as $$
  select case when exists (select from pg_catalog.pg_constraint
                            where conname = rule and conrelid = to_regclass('public.' || of_table))
    then format('alter table public.%I drop constraint %I;', of_table, rule) else format('drop index public.%I;', rule) end $$;
comment on function ezrec.without is 'The statement that takes a rule of a table away.';

create or replace function ezrec.no_value(of_table text, given jsonb) returns text language plpgsql stable
set search_path = '' as $$
declare
  one record;
begin
  for one in select key, value, format_type(atttypid, atttypmod) as type
               from jsonb_each_text(given) join pg_catalog.pg_attribute
                 on attrelid = to_regclass('public.' || of_table) and attname = key and attnum > 0 and not attisdropped
              where key not in ('user_id', 'booking_id') and value is not null loop
    begin
      execute format('select %L::%s', one.value, one.type);
    exception when data_exception then return one.key;
    end;
  end loop;
  return null;
end $$;
comment on function ezrec.no_value is 'A column whose type is not for such values at all; null: there is none.';

create or replace function ezrec.trials(what text, court jsonb, small jsonb, large jsonb, types jsonb)
returns table (about text, problem text, remedy text) language plpgsql set search_path = '' as $$
declare
  found_it record;
  one record;
  fits jsonb;
  unfit text;
begin
  found_it := ezrec.tried(what, court, small);
  if found_it.problem is null and what = 'videos' then  -- a second film of the same day, as long and as large
    found_it := ezrec.tried(what, court, jsonb_build_array(small, small || '{"recording_id": "~~", "booking_id": "~~",
      "storage_path": "b", "video_url": "b", "filename": "b"}'));
  end if;
  if found_it.problem is not null then
    if found_it.code = '23503' then
      return;  -- the owner or booking of a trial is not there; a real one is
    end if;
    about := what;
    problem := found_it.problem;
    unfit := case when found_it.code like '22%' then ezrec.no_value(what, small) end;
    if types ? unfit then
      about := what || '.' || unfit;
    end if;
    remedy := case when types ? unfit then format('alter table public.%I alter column %I type %s;', what, unfit,
      types ->> unfit) when found_it.by_constraint <> '' then ezrec.without(found_it.by_constraint, what) else 'let the columns that EZREC does not know be null, or give them a default' end;
    return next;
    return;
  end if;
  fits := ezrec.fitted(what, small || large);
  for one in select key, value from jsonb_each(large) loop
    found_it := ezrec.tried(what, court, small || jsonb_build_object(one.key, one.value));
    about := what || '.' || one.key;
    if found_it.problem is not null then
      problem := found_it.problem;
      remedy := case when found_it.by_constraint <> '' then ezrec.without(found_it.by_constraint, what) else format('alter table public.%I alter column %I type %s;', what, one.key,
                types ->> one.key) end;
      return next;
    elsif fits ? one.key and fits -> one.key = 'null' and ezrec.columns(what) ->> one.key <> 'uuid' then
      problem := format('its type %s cannot hold what may come, such as %s: it is left empty then',
                        ezrec.columns(what) ->> one.key, left(one.value #>> '{}', 40));
      remedy := format('alter table public.%I alter column %I type %s;', what, one.key, types ->> one.key);
      return next;
    end if;
  end loop;
end $$;
comment on function ezrec.trials is 'Which columns of a table would not take the largest values that can come.';

create or replace function ezrec.status_trials(options jsonb) returns table (about text, problem text, remedy text)
language plpgsql set search_path = '' as $$
declare
  word text;
  why text;
  one record;
begin
  begin
    create temporary table ezrec_trial (like public.bookings including constraints);
    for one in select attname from pg_catalog.pg_attribute
                where attrelid = 'pg_temp.ezrec_trial'::regclass and attnum > 0 and attnotnull and not attisdropped loop
      execute format('alter table pg_temp.ezrec_trial alter column %I drop not null', one.attname);
    end loop;
    foreach word in array array['recording', 'completed', 'video_processed', 'video_uploaded', 'failed'] loop
      begin
        if ezrec.word(word, options) <> '' then
          execute format('insert into pg_temp.ezrec_trial (status) values (%L)', ezrec.word(word, options));
        end if;
      exception when others then
        why := concat_ws('; ', why, format('%L: %s', ezrec.word(word, options), sqlerrm));
      end;
    end loop;
    raise exception 'undone' using errcode = 'EZ000';
  exception
    when sqlstate 'EZ000' then null;
    when insufficient_privilege then null;
  end;
  if why is not null then
    about := 'bookings.status';
    problem := 'it does not take these words, and films are published without them: ' || why;
    remedy := 'let it take them, or say the venue''s own words for them in the setting bookings.status_words';
    return next;
  end if;
end $$;
comment on function ezrec.status_trials is 'Which of our words a booking''s status cannot be.';

create or replace function ezrec.problems(owner text, camera text, options jsonb)
returns table (about text, problem text, remedy text) language plpgsql set search_path = '' as $$
declare
  court constant jsonb := jsonb_build_object('user_id', owner, 'camera_id', camera, 'options', options);
  own constant jsonb := jsonb_build_object('user_id', owner, 'camera_id', camera);
  key constant text := repeat('x', 1024);  -- the longest that S3 takes
begin
  return query select * from ezrec.status_trials(options);
  return query select * from ezrec.trials('videos', court,
    own || jsonb_build_object('recording_id', '~', 'booking_id', '~', 'storage_path', 'a', 'video_url', 'a',
      'poster_url', null, 'duration_seconds', 1, 'file_size', 1, 'filename', 'a', 'date', '2026-11-20',
      'uploaded_at', '2026-11-20T19:00:05.123+00:00'),
    jsonb_build_object('recording_id', repeat('r', 22), 'booking_id', repeat('b', 145), 'storage_path', key,
      'video_url', 'https://' || key, 'poster_url', 'https://' || key, 'duration_seconds', 90000.5,
      'file_size', 5497558138880, 'filename', repeat('f', 200)),
    '{"recording_id": "text", "booking_id": "text", "storage_path": "text", "video_url": "text", "poster_url": "text",
      "duration_seconds": "double precision", "file_size": "bigint", "filename": "text"}');
  return query select * from ezrec.trials('system_status', court, own || '{"version": "0"}',
    jsonb_build_object('cpu_percent', 99.5, 'memory_percent', 99.5, 'memory_mb', 16000.5, 'disk_free_mb', 99999999.5,
      'disk_percent', 99.5, 'temperature_c', 99.5, 'current_booking_id', repeat('b', 145), 'last_error', key,
      'uptime_s', 1000000000, 'throttled', 'under-voltage now', 'cameras', '{"left": {}}'::jsonb, 'preflight', '{}'::jsonb,
      'queues', '{"films": {}}'::jsonb, 'degraded', '["upload"]'::jsonb),
    '{"cpu_percent": "double precision", "memory_percent": "double precision", "memory_mb": "double precision",
      "disk_free_mb": "double precision", "disk_percent": "double precision", "temperature_c": "double precision",
      "current_booking_id": "text", "last_error": "text", "uptime_s": "double precision", "throttled": "text",
      "cameras": "jsonb", "preflight": "jsonb", "queues": "jsonb", "degraded": "jsonb"}');
end $$;
comment on function ezrec.problems is 'What of a court''s rows this project would not take. Nothing is changed.';

create or replace function public.ezrec_check(court jsonb) returns table (about text, problem text, remedy text)
language plpgsql security definer set search_path = '' as $$
declare
  who constant record := ezrec.caller(court);
begin
  return query select * from ezrec.problems(who.user_id, who.camera_id, who.options);
  return query select * from ezrec.open_doors();
end $$;
