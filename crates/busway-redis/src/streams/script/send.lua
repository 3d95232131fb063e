-- Adds events, each once. KEYS: the partitions of their stream; last what the names of remembered ids begin with.
-- ARGV: for how long ids are remembered at least, in ms; for each event its partition, its id, the number of its values, and these: names and values of
-- fields in turn.
-- For each event its place, with '=' before it when it was there already, or '-' and why it is not there.
-- Behind one that failed none of its partition is added: the order would be lost.
-- Ids are remembered by the span of time in which they came, each span as long as they are remembered at least: this one and the one before are looked at, and
-- for all events at once. What was remembered before that is removed as a whole.
local window = tonumber(ARGV[1])
local time = redis.call('TIME')
local span = math.floor((tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)) / window)
local function name(of)
    return KEYS[#KEYS] .. ':' .. string.format('%.0f', of)
end
local recent = name(span)
local ids, at = {}, 2
while at <= #ARGV do
    ids[#ids + 1] = ARGV[at + 1]
    at = at + 3 + tonumber(ARGV[at + 2])
end
local known, earlier = redis.call('HMGET', recent, unpack(ids)), redis.call('HMGET', name(span - 1), unpack(ids))
local answers, failed, added, fresh = {}, {}, {}, {}
at = 2
for event, id in ipairs(ids) do
    local stream, count = KEYS[tonumber(ARGV[at])], tonumber(ARGV[at + 2])
    local place = known[event] or earlier[event] or added[id]
    if failed[stream] then
        answers[event] = failed[stream]
    elseif place then
        answers[event] = '=' .. place
    else
        place = redis.pcall('XADD', stream, 'NOMKSTREAM', '*', unpack(ARGV, at + 3, at + 2 + count))
        if type(place) == 'string' then
            answers[event], added[id] = place, place
            fresh[#fresh + 1] = id
            fresh[#fresh + 1] = place
        else
            failed[stream] = '-' .. (place and place.err or 'GONE')
            answers[event] = failed[stream]
        end
    end
    at = at + 3 + count
end
if #fresh > 0 then
    local kept = redis.pcall('HSET', recent, unpack(fresh))
    if type(kept) == 'table' and kept.err then
        -- Without their ids they could come twice. Nobody has seen them: scripts are run as a whole.
        at = 2
        for event, id in ipairs(ids) do
            if added[id] then
                redis.call('XDEL', KEYS[tonumber(ARGV[at])], added[id])
                answers[event] = '-' .. kept.err
            end
            at = at + 3 + tonumber(ARGV[at + 2])
        end
    else
        redis.call('PEXPIRE', recent, 2 * window)
        -- Out of the way of the server, which would do it at once when its time is over.
        redis.call('UNLINK', name(span - 2))
    end
end
return answers
