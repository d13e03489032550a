//! Events as API Gateway and the load balancer send them.

use serde_json::{Value, json};

/// An event of an HTTP API or a function URL (API Gateway format 2.0).
pub(crate) fn http_event(stage: &str, path: &str, body: &str) -> Value {
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "beta=true",
        "cookies": ["a=1", "b=2"],
        "headers": {
            "accept": "*/*",
            "authorization": "Bearer key",
            "content-length": body.len().to_string(),
            "content-type": "application/json",
            "host": "id.execute-api.eu-west-1.amazonaws.com",
            "user-agent": "OpenAI/Python 1.99.0",
            "x-amzn-trace-id": "Root=1-5eb33c07-de25b420912dee103a5db434",
            "x-forwarded-for": "192.0.2.1",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
        },
        "queryStringParameters": { "beta": "true" },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "id",
            "domainName": "id.execute-api.eu-west-1.amazonaws.com",
            "domainPrefix": "id",
            "http": {
                "method": "POST",
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "OpenAI/Python 1.99.0",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "$default",
            "stage": stage,
            "time": "10/Mar/2026:05:16:23 +0000",
            "timeEpoch": 1_773_119_783_000_u64,
        },
        "body": body,
        "isBase64Encoded": false,
    })
}

/// An event of a REST API (API Gateway format 1.0).
pub(crate) fn rest_event(stage: &str, path: &str, body: &str) -> Value {
    json!({
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": "POST",
        "headers": {
            "Content-Type": "application/json",
            "Host": "id.execute-api.eu-west-1.amazonaws.com",
            "X-Forwarded-Proto": "https",
        },
        "multiValueHeaders": {
            "Content-Type": ["application/json"],
            "Host": ["id.execute-api.eu-west-1.amazonaws.com"],
            "X-Forwarded-Proto": ["https"],
        },
        "queryStringParameters": null,
        "multiValueQueryStringParameters": null,
        "pathParameters": { "proxy": path.trim_start_matches('/') },
        "stageVariables": null,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "id",
            "domainName": "id.execute-api.eu-west-1.amazonaws.com",
            "httpMethod": "POST",
            "identity": { "sourceIp": "192.0.2.1", "userAgent": "curl/8.5.0" },
            "path": format!("/{stage}{path}"),
            "protocol": "HTTP/1.1",
            "requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
            "requestTimeEpoch": 1_773_119_783_000_u64,
            "resourceId": "us4z18",
            "resourcePath": "/{proxy+}",
            "stage": stage,
        },
        "body": body,
        "isBase64Encoded": false,
    })
}

/// An event of an Application Load Balancer.
pub(crate) fn alb_event(path: &str, body: &str) -> Value {
    json!({
        "requestContext": { "elb": {
            "targetGroupArn":
                "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/gateway/6d0ecf83",
        }},
        "httpMethod": "POST",
        "path": path,
        "queryStringParameters": {},
        "headers": {
            "connection": "keep-alive, x-private",
            "x-private": "1",
            "proxy-authorization": "Basic eA==",
            "content-type": "application/json",
            "host": "lb-846800462.eu-west-1.elb.amazonaws.com",
            "x-forwarded-for": "192.0.2.1",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
        },
        "body": body,
        "isBase64Encoded": false,
    })
}
