-- What became of deliveries, one by one. KEYS: for each partition its stream and the times at which deliveries are due again; last the dead letters.
-- ARGV: subscription, member; then for each delivery its partition, its place, its count of deliveries, the verdict and four values of that:
-- 'done'; 'again', ms until then; 'back'; 'dead', reason, attempts, handler; 'renew'.
-- For each '' when it is so, 'GONE' when the delivery is not this member's any more, or what went wrong.
local group, member = ARGV[1], ARGV[2]
local PARKED = 'busway:again'
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function park(key, again, id, due, deliveries)
    local claimed = redis.call('XCLAIM', key, group, PARKED, 0, id, 'RETRYCOUNT', deliveries, 'JUSTID')
    if #claimed == 0 then
        return 'GONE'
    end
    redis.call('ZADD', again, due, id)
    return ''
end

local function bury(key, partition, id, reason, attempts, handler)
    local entry = redis.call('XRANGE', key, id, id)[1]
    local fields = entry and entry[2] or {}
    local more = {
        'busway_reason', reason, 'busway_attempts', attempts, 'busway_handler', handler,
        'busway_subscription', group, 'busway_partition', partition, 'busway_id', id,
    }
    for _, value in ipairs(more) do
        fields[#fields + 1] = value
    end
    redis.call('XADD', KEYS[#KEYS], '*', unpack(fields))
    redis.call('XACK', key, group, id)
    return ''
end

local function settle(at)
    local partition, id, count, verdict = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 3]
    local key, again = KEYS[1 + 2 * partition], KEYS[2 + 2 * partition]
    local pending = redis.call('XPENDING', key, group, id, id, 1)[1]
    if not pending or pending[2] ~= member or pending[4] ~= count then
        return 'GONE'
    elseif verdict == 'done' then
        redis.call('XACK', key, group, id)
        return ''
    elseif verdict == 'again' then
        return park(key, again, id, now + tonumber(ARGV[at + 4]), count)
    elseif verdict == 'back' then
        return park(key, again, id, now, math.max(0, count - 1))
    elseif verdict == 'renew' then
        return #redis.call('XCLAIM', key, group, member, 0, id, 'JUSTID') == 0 and 'GONE' or ''
    end
    return bury(key, partition, id, ARGV[at + 4], ARGV[at + 5], ARGV[at + 6])
end

local answers = {}
for at = 3, #ARGV, 7 do
    local fine, answer = pcall(settle, at)
    answers[#answers + 1] = fine and answer or (type(answer) == 'table' and answer.err or tostring(answer))
end
return answers
