-- Adds events, each once. KEYS: for each event its stream and the name of its id.
-- ARGV: for how long ids are remembered, in ms; for each event the number of its values, and these: names and values of fields in turn.
-- For each event its place, with '=' before it when it was there already, or '-' and why it is not there.
-- Behind one that failed none of its stream is added: the order would be lost.
local answers, failed, at = {}, {}, 2
for event = 1, #KEYS / 2 do
    local stream, name = KEYS[2 * event - 1], KEYS[2 * event]
    local count = tonumber(ARGV[at])
    local known = not failed[stream] and redis.pcall('GET', name)
    if failed[stream] then
        answers[event] = failed[stream]
    elseif type(known) == 'string' then
        answers[event] = '=' .. known
    else
        local added = redis.pcall('XADD', stream, 'NOMKSTREAM', '*', unpack(ARGV, at + 1, at + count))
        local kept = type(added) == 'string' and redis.pcall('SET', name, added, 'PX', ARGV[1])
        if kept and not kept.err then
            answers[event] = added
        elseif kept then
            -- Without its id it could come twice. Nobody has seen it: scripts are run as a whole.
            redis.call('XDEL', stream, added)
            failed[stream] = '-' .. kept.err
            answers[event] = failed[stream]
        else
            failed[stream] = '-' .. (added and added.err or 'GONE')
            answers[event] = failed[stream]
        end
    end
    at = at + count + 1
end
return answers
