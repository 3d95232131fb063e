-- Makes a subscription, or checks it. KEYS: the declaration, the subscriptions, then each partition.
-- ARGV: the subscription, its filter, the id behind which it begins, 1 when a beginning that is not there yet is the end.
-- {'ok', incarnation}, {'filter', the one that it has}, {'gone', partition}, or {'none'} when no such stream is declared.
local born = redis.call('HGET', KEYS[1], 'born')
if not born then
    return {'none'}
end
local function has_group(key)
    if redis.call('EXISTS', key) == 0 then
        return false
    end
    for _, group in ipairs(redis.call('XINFO', 'GROUPS', key)) do
        if group[2] == ARGV[1] then
            return true
        end
    end
    return false
end
local known = redis.call('HGET', KEYS[2], ARGV[1])
if known and known ~= ARGV[2] then
    return {'filter', known}
end
for p = 3, #KEYS do
    if redis.call('EXISTS', KEYS[p]) == 0 or (known and not has_group(KEYS[p])) then
        return {'gone', tostring(p - 3)}
    end
end
if not known then
    for p = 3, #KEYS do
        local from = ARGV[3]
        if ARGV[4] == '1' and #redis.call('XRANGE', KEYS[p], '(' .. from, '+', 'COUNT', 1) == 0 then
            from = '$'
        end
        if not has_group(KEYS[p]) then
            redis.call('XGROUP', 'CREATE', KEYS[p], ARGV[1], from)
        end
    end
    redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
end
return {'ok', born}
