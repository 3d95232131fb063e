-- Runs behind the commands that have just added events, in one transaction with them, and sees to it that each is there once: those whose ids are known are
-- removed again, and nobody has seen them.
-- KEYS: the partitions that events were added to; last what the names of remembered ids begin with.
-- ARGV: for how long ids are remembered at least, in ms; how many were added to each partition; then their ids, partition by partition, as they were added.
-- {number of an event, why it is not there} and so on, in turn: '=' and the number of the event before it that has its id, or '@' and about when, in ms of the
-- server, the first with its id was added.
-- An error: none of them is there, unless it begins with ADDED, when what was added could not be removed.
-- Ids are remembered by the span of time in which they came, each span as long as they are remembered at least, and with the ms of that span: this one and the
-- one before are looked at, and for all events at once. What was remembered before that is removed as a whole.
local partitions = #KEYS - 1
local first = partitions + 2

-- The entries that were added to a partition, the newest one first.
local added = {}
local function remove(p, nth)
    local count = tonumber(ARGV[1 + p])
    added[p] = added[p] or redis.call('XREVRANGE', KEYS[p], '+', '-', 'COUNT', count)
    -- Behind the last id that there is nothing can be added: these are not the ones.
    if #added[p] == count and string.sub(added[p][1][1], 1, 20) ~= '18446744073709551615' then
        redis.call('XDEL', KEYS[p], added[p][count + 1 - nth][1])
    end
end

-- A stream that is not there any more, or is none, has taken nothing.
local taken = {}
for p = 1, partitions do
    local length = redis.pcall('XLEN', KEYS[p])
    taken[p] = type(length) == 'number' and length >= tonumber(ARGV[1 + p])
end

-- Where these ids are remembered from now on, and they.
local recent, fresh

local function remember()
    local window = tonumber(ARGV[1])
    local time = redis.call('TIME')
    local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
    local span = math.floor(now / window)
    local function name(of)
        return KEYS[#KEYS] .. ':' .. string.format('%.0f', of)
    end
    recent = name(span)
    local earlier = name(span - 1)
    local known, known_earlier = redis.call('HMGET', recent, unpack(ARGV, first)), {}
    if redis.call('EXISTS', earlier) == 1 then
        known_earlier = redis.call('HMGET', earlier, unpack(ARGV, first))
    end
    local since = string.format('%.0f', now - span * window)
    local answers, pairs_of, event = {}, {recent}, 0
    for p = 1, partitions do
        local is_there = taken[p]
        for nth = 1, tonumber(ARGV[1 + p]) do
            event = event + 1
            local ms, from = known[event], span
            if not ms and known_earlier[event] then
                ms, from = known_earlier[event], span - 1
            end
            if ms and is_there then
                remove(p, nth)
                answers[#answers + 1] = event
                answers[#answers + 1] = '@' .. string.format('%.0f', from * window + tonumber(ms))
            elseif is_there then
                pairs_of[#pairs_of + 1] = ARGV[first - 1 + event]
                pairs_of[#pairs_of + 1] = since
            end
        end
    end
    local count = (#pairs_of - 1) / 2
    if count == 0 then
        return answers
    end
    local new = redis.call('HSET', unpack(pairs_of))
    fresh = pairs_of
    if redis.call('HLEN', recent) == new then
        redis.call('PEXPIREAT', recent, string.format('%.0f', (span + 2) * window))
        -- Out of the way of the server, which would do it at once when its time is over.
        redis.call('UNLINK', name(span - 2))
    end
    return answers, new < count
end

-- Some ids are there twice among these.
local function remove_twins(answers)
    local seen, gone, event = {}, {}, 0
    for at = 1, #answers, 2 do
        gone[answers[at]] = true
    end
    for p = 1, partitions do
        local is_there = taken[p]
        for nth = 1, tonumber(ARGV[1 + p]) do
            event = event + 1
            local id = ARGV[first - 1 + event]
            if is_there and not gone[event] then
                if seen[id] then
                    remove(p, nth)
                    answers[#answers + 1] = event
                    answers[#answers + 1] = '=' .. seen[id]
                else
                    seen[id] = event
                end
            end
        end
    end
    return answers
end

local fine, answers, has_twins = pcall(remember)
if fine and has_twins then
    fine, answers = pcall(remove_twins, answers)
end
if fine then
    return answers
end
-- Without their ids they could come twice; and an id must not be remembered of what is not there.
local why = type(answers) == 'table' and answers.err or tostring(answers)
local is_undone = pcall(function()
    for at = 2, fresh and #fresh or 0, 2 do
        redis.call('HDEL', recent, fresh[at])
    end
    for p = 1, partitions do
        for nth = 1, taken[p] and tonumber(ARGV[1 + p]) or 0 do
            remove(p, nth)
        end
    end
end)
return redis.error_reply((is_undone and '' or 'ADDED ') .. why)
