-- Removes what is older than the limits, and never what somebody has not read or not settled.
-- KEYS: each partition. ARGV: ms that entries are kept, or ''; how many are kept, or ''; how many go at once.
-- How many went.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- Whether a place is before another. As text: the numbers may be larger than those that Lua has.
local function is_before(a, b)
    local a_ms, a_seq = string.match(a, '^(%d+)-(%d+)$')
    local b_ms, b_seq = string.match(b, '^(%d+)-(%d+)$')
    if #a_ms ~= #b_ms then return #a_ms < #b_ms end
    if a_ms ~= b_ms then return a_ms < b_ms end
    if #a_seq ~= #b_seq then return #a_seq < #b_seq end
    return a_seq < b_seq
end

local removed = 0
for _, key in ipairs(KEYS) do
    local from
    local function no_further(place)
        if not from or is_before(place, from) then
            from = place
        end
    end
    if redis.call('EXISTS', key) == 1 then
        -- No more than so many at once: nobody else is served meanwhile.
        local oldest = redis.call('XRANGE', key, '-', '+', 'COUNT', tonumber(ARGV[3]) + 1)
        if ARGV[2] ~= '' then
            local beyond = redis.call('XLEN', key) - tonumber(ARGV[2])
            no_further(beyond > 0 and oldest[math.min(beyond + 1, #oldest)][1] or '0-0')
        end
        if ARGV[1] ~= '' then
            no_further(string.format('%.0f-0', math.max(0, now - tonumber(ARGV[1]))))
        end
        if #oldest > tonumber(ARGV[3]) then
            no_further(oldest[#oldest][1])
        end
        for _, group in ipairs(redis.call('XINFO', 'GROUPS', key)) do
            local pending = redis.call('XPENDING', key, group[2])
            -- Without any pending the last one read stays: one more than has to.
            no_further(pending[1] > 0 and pending[2] or group[8])
        end
        if from then
            removed = removed + redis.call('XTRIM', key, 'MINID', from)
        end
    end
end
return removed
