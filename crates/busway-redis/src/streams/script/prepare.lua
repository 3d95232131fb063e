-- Makes a stream, or checks it. KEYS: the declaration, then each partition. ARGV: filters, partitions, a name for this incarnation.
-- {} when it is as declared, else {what differs, what it is}.
local found = redis.call('HMGET', KEYS[1], 'filters', 'partitions')
if found[1] and found[1] ~= ARGV[1] then
    return {'filters', found[1]}
end
if found[2] and found[2] ~= ARGV[2] then
    return {'partitions', found[2]}
end
if not found[1] then
    redis.call('HSET', KEYS[1], 'filters', ARGV[1], 'partitions', ARGV[2], 'born', ARGV[3])
end
for p = 2, #KEYS do
    local kind = redis.call('TYPE', KEYS[p]).ok
    if kind == 'none' then
        -- A group that comes and goes leaves an empty stream behind: there is no command that makes one.
        redis.call('XGROUP', 'CREATE', KEYS[p], 'busway:none', '$', 'MKSTREAM')
        redis.call('XGROUP', 'DESTROY', KEYS[p], 'busway:none')
    elseif kind ~= 'stream' then
        return {'type', kind}
    end
end
return {}
