-- Requests of wrk. Arguments: `post FILE TYPE` posts a file, `get` gets the URL, `chain FILE TYPE PATTERN` posts images and gets
-- four previews of each. PATTERN is the path of a preview with ID and SIZE.
local pattern
local preview_requests = {}

function init(args)
    if args[1] ~= "get" then
        local file = assert(io.open(args[2], "rb"))
        wrk.method, wrk.body, wrk.headers["Content-Type"] = "POST", file:read("*a"), args[3]
        file:close()
    end
    if args[1] == "chain" then
        pattern = args[4]
        request, response = next_in_chain, add_preview_requests
    end
    prepared = wrk.format()
end

function request()
    return prepared
end

function next_in_chain()
    if #preview_requests > 0 then
        return table.remove(preview_requests)
    end
    return prepared
end

function add_preview_requests(status, headers)
    if status ~= 201 then
        return
    end
    local location = headers["Location"] or headers["location"]
    local id = location:gsub("/[^/]*%.jpg$", ""):match("[^/]+$")
    for _, size in ipairs({ 160, 96, 64, 32 }) do
        local path = pattern:gsub("ID", id):gsub("SIZE", size)
        table.insert(preview_requests, wrk.format("GET", path, { Host = wrk.headers["Host"] }, ""))
    end
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        '\n{"rate": %f, "p50": %f, "p99": %f, "failed": %d}\n',
        summary.requests / summary.duration * 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout
    ))
end
