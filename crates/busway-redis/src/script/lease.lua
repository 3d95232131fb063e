-- absent -> leased. KEYS[1]: the key. ARGV: owner, epoch, length of the lease in ms.
-- 0: leased. -1: done. Above: somebody else has it, for so many ms at the longest.
local state = redis.call('GET', KEYS[1])
if state == 'done' then
    return -1
end
if state then
    local owner, epoch = string.match(state, '^leased:(%x+):(%d+)$')
    if owner ~= ARGV[1] or tonumber(epoch) > tonumber(ARGV[2]) then
        -- Less than a millisecond is left of it, or somebody wrote it who sets no time: to be asked again.
        return math.max(1, redis.call('PTTL', KEYS[1]))
    end
end
redis.call('SET', KEYS[1], 'leased:' .. ARGV[1] .. ':' .. ARGV[2], 'PX', ARGV[3])
return 0
