-- leased -> absent. KEYS[1]: the key. ARGV: owner, epoch.
-- 1: given back. 0: it was no longer this one's, and nothing has changed.
if redis.call('GET', KEYS[1]) == 'leased:' .. ARGV[1] .. ':' .. ARGV[2] then
    redis.call('DEL', KEYS[1])
    return 1
end
return 0
