-- Replaces the model as anyone would write it first: read, decode, replace,
-- encode.
local cjson = require "cjson"

local models = {
{models}
}

ngx.req.read_body()
local body = ngx.req.get_body_data()
if not body then
    return ngx.exit(ngx.HTTP_BAD_REQUEST)
end
local ok, request = pcall(cjson.decode, body)
if not ok then
    return ngx.exit(ngx.HTTP_BAD_REQUEST)
end
local id = models[request.model]
if not id then
    return ngx.exit(ngx.HTTP_NOT_FOUND)
end
request.model = id
ngx.req.set_body_data(cjson.encode(request))
