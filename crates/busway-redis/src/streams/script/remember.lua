-- Runs behind the commands that have just added events, in one transaction with them, and sees to it that each is there once: those whose ids are known are
-- removed again, and nobody has seen them.
-- KEYS: the partitions that events were added to; last what the names of remembered ids begin with.
-- ARGV: for how long ids are remembered at least, in ms; how many were added to each partition; then their ids, partition by partition, as they were added.
-- {number of an event, that of the one before it here that has its id, or 0 when it was there before} and so on, in turn, of those that were removed.
-- An error: none of them is there, unless it begins with ADDED, when what was added could not be removed.
-- Ids are remembered by the span of time in which they came, each span as long as they are remembered at least: this one and the one before are looked at, and for
-- all events at once. What was remembered before that is removed as a whole.
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
local taken, is_all_taken = {}, true
for p = 1, partitions do
    local length = redis.pcall('XLEN', KEYS[p])
    taken[p] = type(length) == 'number' and length >= tonumber(ARGV[1 + p])
    is_all_taken = is_all_taken and taken[p]
end

-- Where ids are remembered from now on; which ones, or whether all.
local recent, fresh, is_all_fresh

-- Removes those that were there before, and those that are there twice among these; remembers the others. {} when that is all of them.
local function sort_out(known, known_earlier)
    local answers, ids, seen, event = {}, {}, {}, 0
    local function is_double(p, nth, of)
        remove(p, nth)
        answers[#answers + 1] = event
        answers[#answers + 1] = of
    end
    for p = 1, partitions do
        for nth = 1, tonumber(ARGV[1 + p]) do
            event = event + 1
            local id = ARGV[first - 1 + event]
            if not taken[p] then
                -- Nothing is there, and nothing is to be remembered.
            elseif known[event] == 1 or known_earlier[event] == 1 then
                is_double(p, nth, 0)
            elseif seen[id] then
                is_double(p, nth, seen[id])
            else
                seen[id] = event
                ids[#ids + 1] = id
            end
        end
    end
    return answers, ids
end

local function is_in(known)
    for event = 1, #known do
        if known[event] == 1 then
            return true
        end
    end
    return false
end

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
    local known, known_earlier = redis.call('SMISMEMBER', recent, unpack(ARGV, first)), {}
    if redis.call('EXISTS', earlier) == 1 then
        known_earlier = redis.call('SMISMEMBER', earlier, unpack(ARGV, first))
    end
    local count, new, answers = #ARGV - first + 1, 0, {}
    if is_all_taken and not is_in(known) and not is_in(known_earlier) then
        new = redis.call('SADD', recent, unpack(ARGV, first))
        is_all_fresh = true
    end
    if new < count then
        answers, fresh = sort_out(known, known_earlier)
        if not is_all_fresh and #fresh > 0 then
            new = redis.call('SADD', recent, unpack(fresh))
        end
    end
    if new > 0 and redis.call('SCARD', recent) == new then
        redis.call('PEXPIREAT', recent, string.format('%.0f', (span + 2) * window))
        -- Out of the way of the server, which would do it at once when its time is over.
        redis.call('UNLINK', name(span - 2))
    end
    return answers
end

local fine, answers = pcall(remember)
if fine then
    return answers
end
-- Without their ids they could come twice; and an id must not be remembered of what is not there.
local why = type(answers) == 'table' and answers.err or tostring(answers)
local is_undone = pcall(function()
    if is_all_fresh then
        redis.call('SREM', recent, unpack(ARGV, first))
    elseif fresh and #fresh > 0 then
        redis.call('SREM', recent, unpack(fresh))
    end
    for p = 1, partitions do
        for nth = 1, taken[p] and tonumber(ARGV[1 + p]) or 0 do
            remove(p, nth)
        end
    end
end)
return redis.error_reply((is_undone and '' or 'ADDED ') .. why)
