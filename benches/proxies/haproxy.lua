-- Replaces the model as nginx.lua does. An action can read the body but not set
-- it, and a filter can set it but no header, so there are both.
local cjson = require "cjson"

local models = {
{models}
}

local function reject(txn, status)
    local reply = txn:reply()
    reply:set_status(status)
    txn:done(reply)
end

core.register_action("set_model", { "http-req" }, function(txn)
    local ok, request = pcall(cjson.decode, txn.f:req_body())
    if not ok then
        return reject(txn, 400)
    end
    local id = models[request.model]
    if not id then
        return reject(txn, 404)
    end
    request.model = id
    local body = cjson.encode(request)
    txn.http:req_del_header("transfer-encoding")
    txn.http:req_set_header("content-length", #body)
    txn:set_var("txn.body", body)
end)

local SetBody = { id = "set_body", flags = filter.FLT_CFG_FL_HTX }
SetBody.__index = SetBody

function SetBody:new()
    return setmetatable({}, SetBody)
end

function SetBody:start_analyze(txn, channel)
    if not channel:is_resp() then
        filter.register_data_filter(self, channel)
    end
end

function SetBody:http_payload(txn, message)
    message:set(txn:get_var("txn.body"))
end

core.register_filter("set_body", SetBody, function(it) return it end)
