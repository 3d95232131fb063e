-- leased -> done, whoever has the lease: an effect that has happened has happened. KEYS[1]: the key. ARGV: for how long, in ms.
-- 1 in any case. A time that is longer already stays.
if redis.call('GET', KEYS[1]) == 'done' and redis.call('PTTL', KEYS[1]) >= tonumber(ARGV[1]) then
    return 1
end
redis.call('SET', KEYS[1], 'done', 'PX', ARGV[1])
return 1
