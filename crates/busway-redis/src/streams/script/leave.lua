-- Gives back what a member has of a partition, and strikes its name when nothing is left.
-- KEYS: the stream, the times at which deliveries are due again. ARGV: subscription, member, how many at once.
-- 1: there may be more. 0: that was all.
local group, member = ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local all = redis.call('XPENDING', KEYS[1], group, '-', '+', ARGV[3], member)
for _, pending in ipairs(all) do
    local deliveries = math.max(0, pending[4] - 1)
    local claimed = redis.call('XCLAIM', KEYS[1], group, 'busway:again', 0, pending[1], 'RETRYCOUNT', deliveries, 'JUSTID')
    if #claimed > 0 then
        redis.call('ZADD', KEYS[2], now, pending[1])
    end
end
if #all > 0 then
    return 1
end
-- Redis forgets what a consumer has pending together with its name: it has nothing.
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], group, member)
return 0
