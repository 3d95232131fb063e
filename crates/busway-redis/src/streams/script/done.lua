-- Settles deliveries that are done, a partition in one call. KEYS: for each partition its stream.
-- ARGV: subscription, member; for each partition how often these were delivered, and how many they are; then their places, partition by partition.
-- The numbers of those that were not found to be this member's, whatever the reason; they are as they were.
local group, member = ARGV[1], ARGV[2]
local missing, from = {}, 3 + 2 * #KEYS
local offset = from - 1

local function settle(key, count, to)
    local found, settled = {}, {}
    for _, pending in ipairs(redis.call('XPENDING', key, group, ARGV[from], ARGV[to], 2 * (to - from) + 18, member)) do
        found[pending[1]] = pending[4]
    end
    for at = from, to do
        local id = ARGV[at]
        if found[id] == count then
            found[id] = nil
            settled[#settled + 1] = id
        else
            missing[#missing + 1] = at - offset
        end
    end
    if #settled > 0 then
        redis.call('XACK', key, group, unpack(settled))
    end
end

for p, key in ipairs(KEYS) do
    local to, before = from + tonumber(ARGV[2 + 2 * p]) - 1, #missing
    if not pcall(settle, key, tonumber(ARGV[1 + 2 * p]), to) then
        -- The subscription is not there, most likely.
        for at = #missing, before + 1, -1 do
            missing[at] = nil
        end
        for at = from, to do
            missing[#missing + 1] = at - offset
        end
    end
    from = to + 1
end
return missing
