-- Removes a subscription. KEYS: the subscriptions, then of each partition the stream and the times at which deliveries are due again.
-- ARGV: the subscription.
for k = 2, #KEYS, 2 do
    if redis.call('EXISTS', KEYS[k]) == 1 then
        redis.call('XGROUP', 'DESTROY', KEYS[k], ARGV[1])
    end
    redis.call('DEL', KEYS[k + 1])
end
redis.call('HDEL', KEYS[1], ARGV[1])
return 1
