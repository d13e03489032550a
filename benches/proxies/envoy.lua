-- Replaces the model as nginx.lua does.
local cjson = require "cjson"

local models = {
{models}
}

function envoy_on_request(handle)
    local body = handle:body()
    local ok, request = pcall(cjson.decode, body:getBytes(0, body:length()))
    if not ok then
        return handle:respond({ [":status"] = "400" })
    end
    local id = models[request.model]
    if not id then
        return handle:respond({ [":status"] = "404" })
    end
    request.model = id
    local length = body:setBytes(cjson.encode(request))
    handle:headers():replace("content-length", length)
end
