-- What a member gets: what is due again, what others (or it, before) left lying, what is new; in this order, and no more than there is room for.
-- KEYS: the declaration, then for each partition its stream and the times at which deliveries are due again.
-- ARGV: incarnation, subscription, member, ack wait in ms, room, 1 to look at what this member had before, 1 to look at what lies too long,
-- the partition to begin with, and what the member has in its hands: partition and place with '/' between.
-- {ms until the next is due or -1, 1 when all that it had before was seen, for each partition the place up to which was read,
-- then {partition, place, deliveries, fields} of each, without fields when somebody has removed them}.
local group, member, wait, room = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
if redis.call('HGET', KEYS[1], 'born') ~= ARGV[1] then
    return redis.error_reply('NOGROUP the stream was lost, and made anew since')
end
local PARKED = 'busway:again'
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local partitions = (#KEYS - 1) / 2
local held, held_count = {}, #ARGV - 8
for at = 9, #ARGV do
    held[ARGV[at]] = true
end
local entries, seen_all, next_due, places = {}, 1, -1, {}

local function give(p, id, deliveries, fields)
    entries[#entries + 1] = {p, id, deliveries, fields}
    room = room - 1
end

local function claim(p, key, again, id)
    local pending = redis.call('XPENDING', key, group, id, id, 1)
    redis.call('ZREM', again, id)
    if #pending == 0 then
        return
    end
    local claimed = redis.call('XCLAIM', key, group, member, 0, id)[1]
    -- Since 7.0 what was removed leaves the list by itself; before, it is said to be nil.
    if type(claimed) == 'table' then
        give(p, id, pending[1][4] + 1, claimed[2])
    else
        redis.call('XACK', key, group, id)
        give(p, id, pending[1][4] + 1, {})
    end
end

local function before(p, key, again)
    for _, pending in ipairs(redis.call('XPENDING', key, group, '-', '+', held_count + room + 1, member)) do
        if not held[p .. '/' .. pending[1]] then
            if room == 0 then
                seen_all = 0
                return
            end
            claim(p, key, again, pending[1])
        end
    end
end

local function left_lying(p, key, again)
    for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', key, group)) do
        local name, count = consumer[2], consumer[4]
        if name == PARKED then
            -- Somebody has removed the times: what they were of is due at once, or it would lie for ever.
            if count > redis.call('ZCARD', again) then
                for _, pending in ipairs(redis.call('XPENDING', key, group, '-', '+', count, PARKED)) do
                    redis.call('ZADD', again, 'NX', now, pending[1])
                end
            end
        elseif count == 0 then
            -- Who is not heard of and has nothing is forgotten: one that is here all the same is known again with its next question.
            if name ~= member and consumer[6] > wait then
                redis.call('XGROUP', 'DELCONSUMER', key, group, name)
            end
        elseif room > 0 then
            for _, pending in ipairs(redis.call('XPENDING', key, group, 'IDLE', wait, '-', '+', room, name)) do
                claim(p, key, again, pending[1])
            end
        end
    end
end

for turn = 0, partitions - 1 do
    local p = (tonumber(ARGV[8]) + turn) % partitions
    local key, again = KEYS[2 + 2 * p], KEYS[3 + 2 * p]
    if ARGV[6] == '1' then
        before(p, key, again)
    end
    if ARGV[7] == '1' then
        left_lying(p, key, again)
    end
    if room > 0 then
        for _, id in ipairs(redis.call('ZRANGEBYSCORE', again, '-inf', now, 'LIMIT', 0, room)) do
            claim(p, key, again, id)
        end
    end
    if room > 0 then
        local new = redis.call('XREADGROUP', 'GROUP', group, member, 'COUNT', room, 'STREAMS', key, '>')
        for _, entry in ipairs(new and new[1] and new[1][2] or {}) do
            give(p, entry[1], 1, entry[2])
        end
    end
    local first = redis.call('ZRANGE', again, 0, 0, 'WITHSCORES')
    if first[2] and (next_due < 0 or tonumber(first[2]) - now < next_due) then
        next_due = math.max(0, tonumber(first[2]) - now)
    end
    local place = false
    for _, known in ipairs(redis.call('XINFO', 'GROUPS', key)) do
        if known[2] == group then
            place = known[8]
        end
    end
    if not place then
        return redis.error_reply('NOGROUP the subscription is not there')
    end
    places[p + 1] = place
end
return {next_due, seen_all, places, entries}
