-- One token of a bucket. KEYS[1]: the bucket. ARGV: microseconds that a token takes to be earned, tokens that a full bucket holds.
-- 0: taken. Above: none is there for so many ms.
-- The bucket is the moment at which it will be full again (the Generic Cell Rate Algorithm, ITU-T I.371): one number, and gone when it is full.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local token, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local full_at = tonumber(redis.call('GET', KEYS[1]) or now)
-- A clock that was set back must not close the bucket for longer than it takes to fill.
full_at = math.min(math.max(full_at, now), now + burst * token)
local next_full_at = full_at + token
local wait = next_full_at - burst * token - now
if wait > 0 then
    return math.ceil(wait / 1000)
end
redis.call('SET', KEYS[1], string.format('%.0f', next_full_at), 'PX', math.max(1, math.ceil((next_full_at - now) / 1000)))
return 0
