-- Requests of wrk: `fixed PATH`, `random PATH USERS` (an existing user), or `new PATH TAG` (a new address per request).

local kind, path, argument
local count = 0
local headers = { ["Content-Type"] = "application/json" }

function init(arguments)
  kind, path, argument = arguments[1], arguments[2], arguments[3]
  math.randomseed(os.time())
end

function request()
  if kind == "random" then
    return wrk.format("GET", path .. "?email=person" .. math.random(tonumber(argument)) .. "@example.org")
  elseif kind == "new" then
    count = count + 1
    return wrk.format("POST", path, headers, '{"email": "' .. argument .. "." .. count .. '@example.org"}')
  end
  return wrk.format("GET", path)
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "microseconds": %d, "p50": %.1f, "p99": %.1f, "failures": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout
  ))
end
